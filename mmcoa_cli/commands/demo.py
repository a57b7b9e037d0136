"""`mmcoa demo`: the whole way on embedded data, with no network."""

from __future__ import annotations

from . import output as o

EXAMPLES = {
    "mmcoa demo": "Type it again: it takes seconds, from the store",
}


def command(json: o.Json = False) -> None:
    """Fetch, train four methods, attack and report on embedded digits: two minutes on two cores, no network."""
    from .. import demo

    demo.show(as_json=json)
