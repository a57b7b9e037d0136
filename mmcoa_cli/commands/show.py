"""`mmcoa show`: what a dataset is and what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import options as o

NAME = "show"
EXAMPLES = (
    "[bold]mmcoa show birds --split train --output birds.png[/]\n\n"
    "[bold]mmcoa show birds[/]  a contact sheet with labels, and a few images in the terminal"
)


def command(
    names: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Datasets in the store.")],
    split: Annotated[str, typer.Option(help="The images of test, train or val.")] = "test",
    pixel_size: o.PixelSize = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the sheet into this PNG; default: one in the store.", dir_okay=False),
    ] = None,
    json: o.Json = False,
) -> None:
    """Draw some images of each class, exactly as they are attacked, and say what the dataset is. (Runs are for a later
    version.)"""
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
