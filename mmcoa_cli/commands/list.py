"""`mmcoa list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.literals import Listed
from . import output as o

EXAMPLES = {
    "mmcoa list attacks": "List the attacks with their settings, for --attack and -o",
    "mmcoa list methods --json": "List the methods of mmcoa train as JSON",
    "mmcoa list tables": "List what mmcoa report --task and mmcoa reproduce take",
}


def command(kind: Annotated[Listed, typer.Argument(metavar="KIND", help="List these.")], json: o.Json = False) -> None:
    """List what there is to choose from: title, source, and settings with their defaults."""
    from .. import listing
    from ..terminal.console import out, print_json

    entries = listing.KINDS[kind]()
    if json:
        print_json({kind: entries})
    else:
        out.print(listing.table(entries))
