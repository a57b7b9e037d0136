"""`mmcoa evaluate`: test a run or a model on datasets, clean and under attacks."""

from __future__ import annotations

import typer

from ..jobs import specs
from ..jobs.used import NAMES, unused_in_test
from ..terminal.given import refuse_unused
from . import options as o

NAME = "evaluate"
EXAMPLES = {
    "mmcoa evaluate --checkpoint ViT-B-32 --dataset cifar10,cifar100": "Test zero-shot CLIP under all attacks",
    "mmcoa evaluate --checkpoint RUN --attack image --eps 2/255 --limit 1000": "Test a run on 1,000 images",
}


def command(
    context: typer.Context,
    checkpoint: o.Checkpoint,
    dataset: o.Datasets = o.DATASETS,
    attack: o.Attacks = o.ATTACKS,
    *,
    test: o.Test,
    start: o.Start,
    json: o.Json = False,
) -> None:
    """Test a run or a model. Use the stored examples; make and store those that are missing."""
    from ..jobs import launch
    from ..jobs.worker import Job
    from ..reports import results

    spec = specs.evaluation_spec(checkpoint, dataset, attack, **vars(test))
    refuse_unused(context, unused_in_test(attack) - NAMES, by=f"--attack {attack} has no use for it")
    results.show(launch.run(Job(evaluate=spec), **vars(start)), as_json=json)
