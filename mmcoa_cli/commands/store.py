"""`mmcoa store`: what is stored, and whether it is intact."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.choices import one
from ..terminal.examples import epilog
from . import known
from . import output as o

EXAMPLES = {
    "mmcoa store verify": "Check all of the store; end with exit code 1 where something is damaged",
    "mmcoa store verify cifar10": "Check one dataset, model or run, or the examples of a key",
}

app = typer.Typer(no_args_is_help=True, help="Look after what is stored.", epilog=epilog(EXAMPLES))


@app.callback()
def options() -> None:
    """Look after what is stored."""


@app.command(epilog=epilog(EXAMPLES))
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Check these datasets, models, runs, or example sets (a key, or its beginning).",
            show_default="all", autocompletion=one(known.stored),
        ),
    ] = None,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Read what is stored again, and compare it with the checksums recorded when it was written."""
    from .. import stored
    from ..settings import home
    from ..terminal.console import out, print_json

    found = stored.verify(home(), names or [], quiet=json)
    if json:
        print_json({"ok": not any(entry.reason for entry in found), "checked": found})
    else:
        out.print(stored.table(found))
    error = stored.verdict(found)
    if error:
        raise error
