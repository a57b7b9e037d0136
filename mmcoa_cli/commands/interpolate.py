"""`mmcoa interpolate`: models between two."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.choices import one
from ..terminal.literals import Towers
from . import known
from . import options as o

EXAMPLES = {
    "mmcoa interpolate ViT-B-32 RUN": "Make the eleven models from OpenAI's CLIP to a defended one",
    "mmcoa interpolate tiny-clip RUN --steps 3 --towers image": "Keep the text encoder of the first",
}


def command(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Begin at this run or model.", autocompletion=one(known.checkpoints))
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="End at this run or model.", autocompletion=one(known.checkpoints))
    ],
    *,
    steps: Annotated[int, typer.Option(metavar=o.N, help="Make N models: w from 0 to 1, both ends among them.")] = 11,
    towers: Annotated[
        Towers, typer.Option(help="Interpolate both encoders, or the image encoder and keep all else as A has it.")
    ] = "both",
    json: o.Json = False,
) -> None:  # fmt: skip
    """Make the models (1-w) A + w B. Each can be evaluated as a run is; what is there is not made again."""
    from ..models.interpolation import interpolate
    from ..settings import home
    from ..terminal.console import print_json, show

    runs = interpolate(a, b, home(), steps=steps, towers=towers)
    ids = [run.id for run in runs]
    if json:
        print_json({"runs": ids, "weights": [run.weights for run in runs]})
        return
    for run in ids:
        show(run)
    show(f"try: mmcoa evaluate --checkpoint {','.join(ids)} --dataset DATASET")
