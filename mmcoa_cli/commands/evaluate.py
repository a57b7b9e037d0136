"""`mmcoa evaluate`: test a run or a model on datasets, clean and under attacks."""

from __future__ import annotations

import typer

from ..jobs import specs
from . import groups
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
    test: groups.Test,
    start: groups.Start,
    json: o.Json = False,
) -> None:
    """Test a run or a model. Use the stored examples; make and store those that are missing."""
    options = test.chosen(context, attack, by=f"--attack {attack}")
    spec = specs.evaluation_spec(checkpoint, dataset, attack, **options)
    from ..jobs import launch  # what was typed is right: only now is it worth the time
    from ..jobs.worker import Job
    from ..reports import results

    results.show(launch.run(Job(evaluate=spec), **vars(start)), as_json=json)
