"""`mmcoa pretrain`: a stand-in CLIP from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.choices import one
from . import known
from . import options as o

EXAMPLES = {
    "mmcoa pretrain --config ARCH.json --dataset cifar10 --epochs 30 --name my-clip": "Then evaluate my-clip",
}


def command(
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="Build this architecture: a JSON file as open_clip's model_configs.")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Learn this dataset's images and class prompts.", autocompletion=one(known.datasets)
        ),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Call the model this in the store.")],
    epochs: Annotated[int, typer.Option(metavar=o.N, help="Train for N epochs.")] = 30,
    batch_size: Annotated[int, typer.Option(metavar=o.N, help="Take N images a step.")] = 128,
    lr: Annotated[
        float, typer.Option(metavar="RATE", help="Rise to this learning rate, then fall as a cosine (AdamW).")
    ] = 1e-3,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random; use it for photographs.")] = False,
    seed: o.Seed = 0,
    precision: o.Precision = "fp32",
    json: o.Json = False,
) -> None:
    """Train a stand-in CLIP of any open_clip architecture from scratch, on class prompts."""
    from ..models import pretraining
    from ..settings import home
    from ..terminal.console import print_json, show

    spec = pretraining.PretrainSpec(
        name, pretraining.read_architecture(config), dataset, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed,
        precision=precision, flip=flip,
    )  # fmt: skip
    folder = pretraining.pretrain(spec, home())
    if json:
        print_json({"name": name, "folder": str(folder), "origin": "stand-in"})
    else:
        show(f"{name} is in the store")
        show(f"try: mmcoa evaluate --checkpoint {name} --dataset {dataset}")
