"""`mmcoa store`: what is stored, and whether it is intact."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal import options as o

NAME = "store"
EXAMPLES = (
    "[bold]mmcoa store verify cifar10[/]  one dataset, model, run, or the examples of a key\n\n"
    "[bold]mmcoa store verify[/]  all of the store; exit code 1 where something is damaged"
)

app = typer.Typer(no_args_is_help=True, help="Look after what is stored.", epilog=EXAMPLES)


@app.callback()
def options() -> None:
    """Look after what is stored."""


@app.command(epilog=EXAMPLES)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Datasets, models, runs, or beginnings of example sets' keys."),
    ] = None,
    json: o.Json = False,
) -> None:
    """Read everything again and compare it with the checksums that were recorded when it was written."""
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
