"""`mmcoa attack`: make and store adversarial examples of one attack."""

from __future__ import annotations

from typing import Annotated

import typer

from ..jobs import specs
from ..jobs.used import NAMES, unused_in_test
from ..terminal import options as o
from ..terminal.given import refuse_unused

NAME = "attack"
EXAMPLES = (
    "[bold]mmcoa attack image --checkpoint ViT-B-32 --dataset cifar100 --steps 10[/]\n\n"
    "[bold]mmcoa attack text --checkpoint tiny-clip --dataset digits --mlm tiny-mlm[/]  shows the prompts it writes"
)


def command(
    context: typer.Context,
    attack: Annotated[str, typer.Argument(help="image, text or multimodal.")],
    checkpoint: o.Checkpoint = specs.DEFAULT_MODEL,
    dataset: o.Datasets = specs.DEFAULT_DATASET,
    mlm: o.Mlm = specs.DEFAULT_MLM,
    norm: o.Norm = "linf",
    eps: o.Eps = "1/255",
    alpha: o.Alpha = None,
    steps: o.Steps = 100,
    limit: o.Limit = None,
    pixel_size: o.PixelSize = None,
    seed: o.Seed = 0,
    batch_size: o.BatchSize = 128,
    precision: o.Precision = "fp32",
    stop_when_fooled: o.StopWhenFooled = False,
    no_collisions: o.NoCollisions = False,
    compat: o.Compat = "none",
    processes: o.Processes = 1,
    accelerate_config: o.AccelerateConfig = None,
    json: o.Json = False,
) -> None:
    """Make adversarial examples of a run or a model, and store them for every later evaluation."""
    from ..jobs import launch
    from ..jobs.worker import Job
    from ..reports import results

    spec = specs.evaluation_spec(
        checkpoint, o.names(dataset), o.names(attack), mlm=mlm, norm=norm, eps=eps, alpha=alpha, steps=steps,
        limit=limit, pixel_size=pixel_size, seed=seed, batch_size=batch_size, precision=precision,
        stop_when_fooled=stop_when_fooled, no_collisions=no_collisions, compat=compat,
    )  # fmt: skip
    refuse_unused(context, unused_in_test(spec.attacks) - NAMES, by=f"the attack {attack} has no use for it")
    job = Job(evaluate=spec)
    outcome = launch.run(job, processes=processes, accelerate_config=accelerate_config)
    results.show(outcome, as_json=json, files=True)
