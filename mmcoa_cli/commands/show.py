"""`mmcoa show`: what a dataset looks like, and what attacks made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.choices import choice, listed, one
from . import known
from . import output as o

of_run, of_dataset = o.panel("A run"), o.panel("A dataset")
EXAMPLES = {
    "mmcoa show RUN": "Draw images before and under each attack, and print the prompts that it wrote",
    "mmcoa show RUN --dataset stl10 --attack image --output stl10.png": "Draw those of one attack into a file",
    "mmcoa show EXAMPLES.h5": "Draw those of an example set, by the path that `mmcoa attack` printed, or by its key",
    "mmcoa show birds": "Draw a contact sheet with labels, and a few images in the terminal",
    "mmcoa show birds --split train --output birds.png": "Draw training images into a file",
}


Shown = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|EXAMPLES|DATASET...", help="Show these runs, example sets, or datasets of the store.",
        autocompletion=one(known.shown),
    ),
]  # fmt: skip
Split = Annotated[str, of_dataset(metavar="SPLIT", help="Draw images of this split: test, train, val.")]
PixelSize = Annotated[
    int | None, of_dataset(metavar="N", help="Draw images of N x N pixels.", show_default="the dataset's")
]
OfDataset = Annotated[
    str | None,
    of_run(
        metavar="NAME", help="Show examples of this dataset.", show_default="what the run was trained on",
        autocompletion=one(known.datasets),
    ),
]  # fmt: skip
OfAttack = Annotated[
    str | None, of_run(help=f"Show only this attack: {listed(known.attacks)}.", **choice(known.attacks, "ATTACK"))
]
Output = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw the sheet into this PNG.", show_default="one in the store", dir_okay=False),
]


def command(
    names: Shown,
    split: Split = "test",
    pixel_size: PixelSize = None,
    dataset: OfDataset = None,
    attack: OfAttack = None,
    output: Output = None,
    json: o.Json = False,
) -> None:
    """Draw what attacks made of a run's test images, or images of a dataset as they are attacked."""
    from ..reports.showing import show_each
    from ..settings import home
    from ..terminal.console import print_json

    if output and len(names) > 1:
        raise typer.BadParameter("--output takes one name")
    shown = show_each(
        names, home(), split=split, pixel_size=pixel_size, dataset=dataset, attack=attack, output=output, quiet=json
    )
    if json:
        print_json({"shown": shown})
