"""The option that every verb has. A verb that has no other of `options.py` starts without what those are made of."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
