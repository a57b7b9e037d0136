"""`mmcoa demo`: the whole way on embedded data, with no network."""

from __future__ import annotations

from . import options as o

NAME = "demo"
EXAMPLES = {
    "mmcoa demo": "Type it again: it takes seconds, from the store",
}


def command(json: o.Json = False) -> None:
    """Fetch, train four methods, attack and report on embedded digits: a few minutes on two cores, no network."""
    from .. import demo
    from ..reports import results
    from ..settings import home
    from ..terminal.console import print_json, show

    outcomes = demo.run_demo(home())
    if json:
        print_json(results.document(outcomes))
        return
    results.show_all(outcomes)
    for line in demo.closing(home(), outcomes):
        show(line)
