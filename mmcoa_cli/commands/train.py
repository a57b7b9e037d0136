"""`mmcoa train`: train a defence, then evaluate it clean and under every attack."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal.choices import kept, one
from ..terminal.given import given, refuse_unused
from . import grid, groups, known
from . import options as o

EXAMPLES = {
    "mmcoa train --method mmcoa --shots 5": "Start from OpenAI's ViT-B-32, on CIFAR-100",
    "mmcoa train --method tecoa --dataset digits --model tiny-clip --mlm tiny-mlm": "Use no network",
    "mmcoa train --method tecoa,mmcoa --shots 1,5 --seed 0,1,2": "Train twelve runs, and print one table",
    "mmcoa train --method tecoa,mmcoa --shots 1,5 --jobs 4": "Train four runs at once, each on a GPU of its own",
    "mmcoa train --config run.toml --lr 1e-5": "Take the other options from a file",
    "mmcoa train --resume RUN --epochs 20": "Go on after the last whole epoch, up to 20",
    "mmcoa train --shots 50 --test-limit 1000 --test-steps 20": "Make the test at the end a small one",
    "mmcoa train --dry-run": "Say how long it takes on this machine, how much memory and disk",
}
OF_TEST = {"test_limit", "test_steps", "evaluate_every"}
WITH_RESUME = {"config", "resume", "epochs", "processes", "accelerate_config", "no_evaluate", "keep", "json", "dry_run"}
WITH_RESUME |= {*OF_TEST, "track", "micro_batch", "recompute", "workers", "jobs"}


def command(
    context: typer.Context,
    training: groups.Training,
    start: groups.StartOfSeveral,
    *,
    config: grid.Config = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Go on with this run and its own options; only --epochs may be more.",
            autocompletion=one(known.runs),
        ),
    ] = None,
    keep: o.Keep = "last",
    no_evaluate: Annotated[bool, typer.Option("--no-evaluate", help="Train, and test nothing.")] = False,
    test: groups.TestAfter,
    conduct: groups.Conduct,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Train a defence on a dataset; then test it clean and under the image, text and multimodal attack."""
    run, at_once = "", start.at_once()
    if no_evaluate:
        refuse_unused(context, OF_TEST, by="--no-evaluate tests nothing")
    if resume:
        from ..jobs.continuing import spec_to_go_on_with
        from ..settings import home

        refuse_unused(context, set(given(context)) - WITH_RESUME, by="a run that goes on keeps its own options")
        run, spec = spec_to_go_on_with(resume, home(), epochs=training.epochs)
        runs = [spec]
    else:
        runs = training.runs(context, tested=not no_evaluate)
    from ..plans import typed_jobs  # what was typed is right: only now is it worth the time

    size = None if no_evaluate else test.size()
    jobs = typed_jobs.training_jobs(runs, test=size, resume=run, keep=kept(keep), conduct=conduct.chosen())
    typed_jobs.command(jobs, start.chosen(), at_once=at_once, dry_run=dry_run, as_json=json)
