"""`mmcoa pretrain`: a stand-in CLIP from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import options as o

NAME = "pretrain"
EXAMPLES = "[bold]mmcoa pretrain --config ARCH.json --dataset cifar10 --epochs 30 --name my-clip[/]"


def command(
    config: Annotated[Path, typer.Option(help="An open_clip architecture: the JSON of its model_configs.")],
    dataset: Annotated[str, typer.Option(help="The dataset whose images and class prompts it learns.")],
    name: Annotated[str, typer.Option(help="What the model is called in the store.")],
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW (warm-up, then a cosine).")] = 1e-3,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random: for photographs.")] = False,
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
