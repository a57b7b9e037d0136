"""`mmcoa attack`: make and store adversarial examples of one attack."""

from __future__ import annotations

from typing import Annotated

import typer

from store.errors import UserError

from ..attacks import base
from ..jobs.evaluation_spec import evaluation_spec
from ..jobs.training_spec import DEFAULT_MODEL
from ..terminal.choices import choice
from ..terminal.typed import typed
from . import groups, known
from . import options as o

EXAMPLES = {
    "mmcoa attack image --checkpoint ViT-B-32 --dataset cifar100 --steps 10": "Perturb the test images",
    "mmcoa attack text --checkpoint tiny-clip --dataset digits --mlm tiny-mlm": "Show the prompts it writes",
}


def command(
    context: typer.Context,
    attack: Annotated[
        str, typer.Argument(help=f"Run this attack: {', '.join(known.attacks())}.", **choice(known.attacks, "ATTACK"))
    ],
    checkpoint: o.Checkpoint = DEFAULT_MODEL,
    dataset: o.Datasets = o.DATASETS,
    *,
    test: groups.Test,
    start: groups.Start,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Make adversarial examples of a run or a model, and store them for every later evaluation."""
    subject = {"checkpoint": checkpoint, "dataset": dataset}
    if base.lookup(attack).changes_nothing:
        raise UserError(
            f"{attack} attacks nothing: it is the test of the images as they are",
            hint=typed("evaluate", {**subject, "attack": attack, **test.general(context)}),
        )
    options = test.chosen(context, (attack,), by=f"the attack {attack}")
    spec = evaluation_spec(checkpoint, dataset, (attack,), **options)
    from ..plans import typed_jobs  # what was typed is right: only now is it worth the time

    typed_jobs.command(typed_jobs.test_jobs([spec]), start.chosen(), dry_run=dry_run, as_json=json, files=True)
