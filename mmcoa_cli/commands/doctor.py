"""`mmcoa doctor`: versions, devices, memory and the store's health, with what to do about each."""

from __future__ import annotations

from . import output as o

EXAMPLES = {
    "mmcoa doctor": "Use no network; end with exit code 1 where a check failed",
}


def command(json: o.Json = False) -> None:
    """Check this machine and this store, and say what to do about what is wrong."""
    from .. import health
    from ..settings import home
    from ..terminal.console import out, print_json

    found = health.checks(home())
    error = health.verdict(found)
    if json:
        print_json({"ok": error is None, "checks": found})
    else:
        out.print(health.table(found))
    if error:
        raise error
