"""`mmcoa list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.choices import choice
from . import output as o

EXAMPLES = {
    "mmcoa list attacks": "List the attacks with their settings, for --attack and -o",
    "mmcoa list methods --json": "List the methods of mmcoa train as JSON",
    "mmcoa list tables": "List what mmcoa report --task and mmcoa reproduce take",
}


KINDS = ("attacks", "methods", "tasks", "tables", "datasets", "models", "mlms")  # what `listing` has, not yet imported

Kind = Annotated[str, typer.Argument(help=f"List these: {', '.join(KINDS)}.", **choice(lambda: KINDS, "KIND"))]


def command(kind: Kind, json: o.Json = False) -> None:
    """List what there is to choose from: title, source, and settings with their defaults."""
    from .. import listing
    from ..terminal.console import out, print_json

    entries = listing.KINDS[kind]()
    if json:
        print_json({kind: entries})
    else:
        out.print(listing.table(entries))
