"""`mmcoa evaluate`: test a run or a model on datasets, clean and under attacks."""

from __future__ import annotations

import typer

from ..jobs import specs
from ..jobs.used import NAMES, unused_in_test
from ..terminal import options as o
from ..terminal.given import refuse_unused

NAME = "evaluate"
EXAMPLES = (
    "[bold]mmcoa evaluate --checkpoint ViT-B-32 --dataset cifar10,cifar100[/]  zero-shot CLIP, all attacks\n\n"
    "[bold]mmcoa evaluate --checkpoint RUN --dataset cifar100 --attack image --eps 2/255 --limit 1000[/]"
)


def command(
    context: typer.Context,
    checkpoint: o.Checkpoint,
    dataset: o.Datasets = specs.DEFAULT_DATASET,
    attack: o.Attacks = "clean,image,text,multimodal",
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
    """Test a run or a model; stored examples are used, missing ones are made and stored."""
    from ..jobs import launch
    from ..jobs.worker import Job
    from ..reports import results

    spec = specs.evaluation_spec(
        checkpoint, o.names(dataset), o.names(attack), mlm=mlm, norm=norm, eps=eps, alpha=alpha, steps=steps,
        limit=limit, pixel_size=pixel_size, seed=seed, batch_size=batch_size, precision=precision,
        stop_when_fooled=stop_when_fooled, no_collisions=no_collisions, compat=compat,
    )  # fmt: skip
    refuse_unused(context, unused_in_test(spec.attacks) - NAMES, by=f"--attack {attack} has no use for it")
    job = Job(evaluate=spec)
    results.show(launch.run(job, processes=processes, accelerate_config=accelerate_config), as_json=json)
