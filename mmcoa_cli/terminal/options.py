"""Options that several verbs share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Mlm = Annotated[str, typer.Option(help="Masked LM of the text attack: a name, or one you fetched.")]
Eps = Annotated[str, typer.Option(help="Radius of the image attack, in pixels of [0, 1]; written as 1/255.")]
Alpha = Annotated[
    str | None,
    typer.Option(help="Step size of the image attack; default: 1/255, for l2 2.5 eps / steps.", show_default=False),
]
Steps = Annotated[int, typer.Option(help="Steps of the image attack.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
BatchSize = Annotated[int, typer.Option(help="Images a block; an interrupted evaluation resumes at the next block.")]
Precision = Annotated[str, typer.Option(help="fp32 or bf16: what the encoders compute in.")]
Processes = Annotated[int, typer.Option(help="Processes to share the work, usually one a GPU.")]
AccelerateConfig = Annotated[
    Path | None, typer.Option(help="A file made by `accelerate config`, for several machines and the like.")
]
Compat = Annotated[
    str, typer.Option(help="none: the attacks and losses as the paper defines them; release: as its code has them.")
]
Checkpoint = Annotated[str, typer.Option(help="A run (or the beginning of its id), or a model: zero-shot.")]
Datasets = Annotated[str, typer.Option("--dataset", help="One or more datasets, with commas between them.")]
Attacks = Annotated[str, typer.Option("--attack", help="Of clean, image, text, multimodal, with commas between them.")]
Norm = Annotated[str, typer.Option(help="linf or l2: the ball of the image attack.")]
Limit = Annotated[int | None, typer.Option(help="Only that many test images, the classes as equal as can be.")]
PixelSize = Annotated[
    int | None,
    typer.Option(help="Side of the images that are attacked, in pixels; default: the dataset's.", show_default=False),
]
StopWhenFooled = Annotated[
    bool, typer.Option("--stop-when-fooled", help="Leave an image once it is misclassified: faster, another attack.")
]
NoCollisions = Annotated[
    bool, typer.Option("--no-collisions", help="No candidate of the text attack may be another class's name.")
]


def names(text: str) -> tuple[str, ...]:
    """ "a,b" as ("a", "b")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
