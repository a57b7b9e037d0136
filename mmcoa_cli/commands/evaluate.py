"""`mmcoa evaluate`: test a run or a model on datasets, clean and under attacks."""

from __future__ import annotations

import typer

from ..jobs.evaluation_spec import evaluation_spec
from . import groups
from . import options as o

EXAMPLES = {
    "mmcoa evaluate --checkpoint ViT-B-32 --dataset cifar10,cifar100": "Test zero-shot CLIP under all attacks",
    "mmcoa evaluate --checkpoint RUN,RUN": "Test two runs, and print one table",
    "mmcoa evaluate --checkpoint RUN,RUN,RUN,RUN --jobs 4": "Test four at once, each on a GPU of its own",
    "mmcoa evaluate --checkpoint RUN --epochs 1,5,10": "Test a run after these epochs",
    "mmcoa evaluate --checkpoint RUN --attack image --eps 2/255 --limit 1000": "Test a run on 1,000 images",
}


def command(
    context: typer.Context,
    checkpoint: o.Checkpoints,
    dataset: o.Datasets = o.DATASETS,
    attack: o.Attacks = o.ATTACKS,
    *,
    epochs: o.TestedEpochs = None,
    test: groups.Test,
    start: groups.StartOfSeveral,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Test runs or models. Use the stored examples; make and store those that are missing."""
    at_once, options = start.at_once(), test.chosen(context, attack, by=f"--attack {attack}")
    asked = [(name, epoch) for name in checkpoint for epoch in epochs or (None,)]
    tests = [evaluation_spec(name, dataset, attack, epoch=epoch, **options) for name, epoch in asked]
    from ..plans import typed_jobs  # what was typed is right: only now is it worth the time

    jobs = typed_jobs.test_jobs(tests)
    typed_jobs.command(jobs, start.chosen(), at_once=at_once, dry_run=dry_run, as_json=json)
