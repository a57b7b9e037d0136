"""The option that every verb has, and titles of the help. A verb that has no other of `options.py` starts without what
those are made of."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]


def panel(title: str) -> Any:
    """`typer.Option` for the options under this title of the help."""
    return partial(typer.Option, rich_help_panel=title)
