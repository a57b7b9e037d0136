"""`mmcoa tsne`: a model's features before and under an attack, in a plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..jobs.evaluation_spec import evaluation_spec
from ..terminal.choices import choice
from . import groups, known
from . import options as o

EXAMPLES = {
    "mmcoa tsne --checkpoint RUN --dataset cifar10,stl10 --limit 500": "Draw Figure 9 for a run",
    "mmcoa tsne --checkpoint ViT-B-32,RUN --dataset cifar10 --limit 500 --output fig9.svg": "Draw two, side by side",
}


def command(
    context: typer.Context,
    checkpoint: o.Checkpoints,
    dataset: o.Datasets = o.DATASETS,
    attack: Annotated[
        str, typer.Option(help="Attack the images with this attack.", **choice(known.attacks, "ATTACK"))
    ] = "image",
    *,
    test: groups.Test,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="Draw into this PNG, SVG or PDF.", dir_okay=False)
    ] = Path("tsne.png"),
    json: o.Json = False,
) -> None:  # fmt: skip
    """Draw where a model puts images, clean and attacked (t-SNE), and measure the mean cosine of the two."""
    from ..reports.figures import check_ending

    check_ending(output)
    options = test.chosen(context, (attack,), by=f"the attack {attack}")
    specs = [evaluation_spec(name, dataset, (attack,), **options) for name in checkpoint]
    from ..jobs.feature_map import maps_of  # what was typed is right: only now is it worth the time
    from ..reports.feature_picture import draw_maps
    from ..settings import home
    from ..terminal.console import print_json, show

    maps = maps_of(specs, home())
    draw_maps(maps, output)
    if json:
        print_json({"picture": str(output), "maps": [one.document() for one in maps]})
        return
    for one in maps:
        show(f"{one.run} on {one.dataset}: mean cosine {one.mean_cosine:.4f}, {len(one.labels)} images, {one.attack}")
    show(f"drawn: {output}")
