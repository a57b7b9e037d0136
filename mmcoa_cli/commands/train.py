"""`mmcoa train`: train a defence, then evaluate it clean and under every attack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..jobs import specs
from ..jobs.used import NAMES, unused_in_training
from ..terminal import options as o
from ..terminal.given import given, refuse_unused

NAME = "train"
EXAMPLES = (
    "[bold]mmcoa train --method mmcoa --shots 5[/]  on CIFAR-100, from OpenAI's ViT-B-32\n\n"
    "[bold]mmcoa train --method tecoa --dataset digits --model tiny-clip --mlm tiny-mlm[/]  needs no network\n\n"
    "[bold]mmcoa train --resume RUN[/]  goes on after the last whole epoch; with --epochs 20 it goes on to 20"
)
WITH_RESUME = {"resume", "epochs", "processes", "accelerate_config", "no_evaluate", "json"}


def command(
    context: typer.Context,
    method: Annotated[str, typer.Option(help="clip, ft-standard, tecoa or mmcoa.")] = "mmcoa",
    dataset: Annotated[str, typer.Option(help="The dataset to train on.")] = specs.DEFAULT_DATASET,
    shots: Annotated[str, typer.Option(help="Training images a class, or full.")] = "full",
    model: Annotated[
        str, typer.Option(help="The CLIP to start from: a name, ARCH:TAG, hf-hub:..., or one you fetched.")
    ] = specs.DEFAULT_MODEL,
    mlm: o.Mlm = specs.DEFAULT_MLM,
    epochs: Annotated[int | None, typer.Option(help="Epochs; default: the method's in the paper.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step; default: the paper's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of Adam; default: the method's in the paper.")] = None,
    eps: o.Eps = "1/255",
    alpha: Annotated[str | None, typer.Option(help="Step size of the image attack; default: 1/255.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the image attack in training: 10; the evaluation takes 100.")
    ] = None,
    seed: o.Seed = 0,
    tune: Annotated[
        str | None, typer.Option(help="both, image or text: the encoders that are trained; default: the method's.")
    ] = None,
    contrast: Annotated[
        str | None, typer.Option(help="mmcoa's pairs: batch (the paper) or class (all K prompts, no false negatives).")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd; default: the method's.")] = None,
    compat: o.Compat = "none",
    precision: o.Precision = "fp32",
    processes: o.Processes = 1,
    accelerate_config: o.AccelerateConfig = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run; its own options hold, but it may take more --epochs.")
    ] = None,
    no_evaluate: Annotated[bool, typer.Option("--no-evaluate", help="Stop when the weights are there.")] = False,
    json: o.Json = False,
) -> None:
    """Train a defence on a dataset; then test it clean and under the image, text and multimodal attack."""
    from ..jobs import launch
    from ..jobs.continuing import spec_to_go_on_with
    from ..jobs.worker import Job
    from ..reports import results
    from ..settings import home

    run = ""
    if resume:
        refuse_unused(context, set(given(context)) - WITH_RESUME, by="a run that goes on keeps its own options")
        run, spec = spec_to_go_on_with(resume, home(), epochs=epochs)
    else:
        unused = unused_in_training(method, tested=not no_evaluate) - NAMES
        refuse_unused(context, unused, by=f"--method {method} has no use for it")
        spec = specs.train_spec(
            method, dataset=dataset, shots=shots, model=model, mlm=mlm, epochs=epochs, batch_size=batch_size, lr=lr,
            eps=eps, alpha=alpha, steps=steps, seed=seed, tune=tune, contrast=contrast, compat=compat,
            precision=precision, optimizer=optimizer,
        )  # fmt: skip
    job = Job(spec, None if no_evaluate else specs.evaluation_after(spec), resume=run)
    results.show(launch.run(job, processes=processes, accelerate_config=_absolute(accelerate_config)), as_json=json)


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None
