"""`mmcoa train`: train a defence, then evaluate it clean and under every attack."""

from __future__ import annotations

from typing import Annotated

import typer

from ..jobs import specs
from ..jobs.used import NAMES, unused_in_training
from ..terminal.choices import one
from ..terminal.given import given, refuse_unused
from . import known
from . import options as o

NAME = "train"
EXAMPLES = {
    "mmcoa train --method mmcoa --shots 5": "Start from OpenAI's ViT-B-32, on CIFAR-100",
    "mmcoa train --method tecoa --dataset digits --model tiny-clip --mlm tiny-mlm": "Use no network",
    "mmcoa train --resume RUN --epochs 20": "Go on after the last whole epoch, up to 20",
}
WITH_RESUME = {"resume", "epochs", "processes", "accelerate_config", "no_evaluate", "json"}


def command(
    context: typer.Context,
    training: o.Training,
    start: o.Start,
    *,
    seed: o.Seed = 0,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Go on with this run and its own options; only --epochs may be more.",
            autocompletion=one(known.runs),
        ),
    ] = None,
    no_evaluate: Annotated[bool, typer.Option("--no-evaluate", help="Train, and test nothing.")] = False,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Train a defence on a dataset; then test it clean and under the image, text and multimodal attack."""
    from ..jobs import launch
    from ..jobs.continuing import spec_to_go_on_with
    from ..jobs.worker import Job
    from ..reports import results
    from ..settings import home

    run = ""
    if resume:
        refuse_unused(context, set(given(context)) - WITH_RESUME, by="a run that goes on keeps its own options")
        run, spec = spec_to_go_on_with(resume, home(), epochs=training.epochs)
    else:
        unused = unused_in_training(training.method, tested=not no_evaluate) - NAMES
        refuse_unused(context, unused, by=f"--method {training.method} has no use for it")
        spec = specs.train_spec(**training.chosen(), seed=seed)
    job = Job(spec, None if no_evaluate else specs.evaluation_after(spec), resume=run)
    results.show(launch.run(job, **vars(start)), as_json=json)
