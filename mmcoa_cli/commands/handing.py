"""Options of the verbs that hand a model on."""

from __future__ import annotations

from typing import Annotated

import typer

from ..sharing.layouts import LAYOUTS
from ..terminal import choices as c
from . import known
from . import options as o

Handed = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Hand on this run (the beginning of its id is enough), or a model as it comes.",
        autocompletion=c.one(known.checkpoints),
    ),
]  # fmt: skip
To = Annotated[
    str,
    typer.Option(
        "--to", help=f"Write it as this library loads it: {c.listed(lambda: LAYOUTS)}.",
        **c.choice(lambda: LAYOUTS, "LAYOUT"),
    ),
]  # fmt: skip
Epoch = Annotated[
    int | None, typer.Option(metavar=o.N, help="Take the run as it was after epoch N.", show_default="the last")
]
Licence = Annotated[
    str,
    typer.Option("--license", metavar="ID", help="State this licence, by the hub's name for it.", show_default="none"),
]
