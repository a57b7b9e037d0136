"""`mmcoa show`: what a dataset is and what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.choices import one
from . import known
from . import options as o

NAME = "show"
EXAMPLES = {
    "mmcoa show birds": "Draw a contact sheet with labels, and a few images in the terminal",
    "mmcoa show birds --split train --output birds.png": "Draw training images into a file",
}


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET...", help="Show these datasets of the store.", autocompletion=one(known.datasets)
        ),
    ],
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Draw images of this split: test, train, val.")] = "test",
    pixel_size: o.PixelSize = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the sheet into this PNG.", show_default="one in the store", dir_okay=False
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Draw images of each class as they are attacked, and say what the dataset is. (A later version shows runs.)"""
    from ..datasets.showing import show_dataset
    from ..settings import home
    from ..terminal.console import print_json

    if output and len(names) > 1:
        raise typer.BadParameter("--output takes one DATASET")
    shown = [
        show_dataset(name, home(), split=split, pixel_size=pixel_size, output=output, quiet=json) for name in names
    ]
    if json:
        print_json({"shown": shown})
