"""`mmcoa tsne`: a model's features before and under an attack, in a plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.errors import UserError

from ..jobs.evaluation_spec import evaluation_spec
from ..tasks.features import FEATURES
from ..terminal.choices import choice
from ..terminal.given import given
from . import groups, known
from . import options as o

EXAMPLES = {
    "mmcoa tsne --checkpoint RUN --dataset cifar10,stl10 --limit 500": "Draw Figure 9 for a run",
    "mmcoa tsne --checkpoint ViT-B-32,RUN --dataset cifar10 --limit 500 --output fig9.svg": "Draw two",
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
    from ..reports.drawing import check_ending

    check_ending(output)
    if "task" in given(context):
        raise UserError("--task would be ignored: this is about features", hint="leave it out")
    options = test.chosen(context, (attack,), by=f"the attack {attack}")
    specs = [evaluation_spec(name, dataset, (attack,), **{**options, "task": FEATURES.name}) for name in checkpoint]
    from ..jobs.job import Start  # what was typed is right: only now is it worth the time
    from ..plans.typed_jobs import evaluate
    from ..reports.drawing import save_planes
    from ..reports.planes import of_evaluations, planes_of
    from ..settings import home
    from ..terminal.console import print_json, show

    done = evaluate(specs, Start())
    done.end()
    tested = [of_evaluations(outcome.evaluations, home()) for outcome in done.outcomes]
    rows = [(results[0].run_id, planes_of(results, home())) for results in tested]
    save_planes(rows, output)
    drawn = [plane for _, planes in rows for plane in planes if plane]
    if json:
        print_json({"picture": str(output), "maps": [one.document() for one in drawn]})
        return
    for one in drawn:
        show(f"{one.run} on {one.dataset}: mean cosine {one.mean_cosine:.4f}, {one.n} images, {one.attack}")
    show(f"drawn: {output}")
