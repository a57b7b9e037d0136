"""Options that several verbs share, each written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from store.errors import UserError

from .. import catalog
from ..attacks import base
from ..jobs import specs
from ..tasks import TASKS
from ..terminal import choices as c
from ..terminal import literals
from ..terminal.given import given, refuse_unused
from ..terminal.settings_options import parse
from . import known

IMAGE, TEXT, TRAINING = "Image attack", "Text attack", "Training"
SETTINGS, MACHINE, OUTPUT = "Settings", "Machine", "Output"
N = "N"  # what a number is called in the help
DATASETS, ATTACKS = c.Names((specs.DEFAULT_DATASET,)), c.Names(base.usual())

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]

Attacks = Annotated[
    c.Names,
    typer.Option(
        "--attack", help=f"Test under these attacks, with commas between them: {c.listed(known.attacks)}.",
        **c.choices(known.attacks, "ATTACK,..."),
    ),
]  # fmt: skip
Checkpoint = Annotated[
    str,
    typer.Option(
        metavar="RUN|MODEL", help="Test this run (the beginning of its id is enough) or, zero-shot, this model.",
        autocompletion=c.one(known.checkpoints),
    ),
]  # fmt: skip
Checkpoints = Annotated[
    c.Names,
    typer.Option(
        "--checkpoint", metavar="RUN|MODEL,...", parser=c.names, autocompletion=c.several(known.checkpoints),
        help="Test these runs (the beginning of an id is enough) or, zero-shot, these models.",
    ),
]  # fmt: skip
Dataset = Annotated[
    str, typer.Option(metavar="NAME", help="Train on this dataset.", autocompletion=c.one(known.datasets))
]
Datasets = Annotated[
    c.Names,
    typer.Option(
        "--dataset", metavar="NAME,...", help="Test on these datasets, with commas between them.", parser=c.names,
        autocompletion=c.several(known.datasets),
    ),
]  # fmt: skip
Limit = Annotated[
    int | None, typer.Option(metavar=N, help="Evaluate a class-balanced subset of N images.", show_default="all")
]
PixelSize = Annotated[
    int | None, typer.Option(metavar=N, help="Attack images of N x N pixels.", show_default="the dataset's")
]
Task = Annotated[
    str, typer.Option(help=f"Measure this task: {c.listed(lambda: TASKS)}.", **c.choice(lambda: TASKS, "TASK"))
]
Method = Annotated[
    str,
    typer.Option(help=f"Train with this method: {c.listed(catalog.methods)}.", **c.choice(catalog.methods, "METHOD")),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Start from this CLIP: a name, ARCH:TAG, hf-hub:ORG/NAME, or one you fetched.",
        autocompletion=c.one(known.models),
    ),
]  # fmt: skip

Shots = Annotated[str, typer.Option(metavar="N|full", help="Train on N images of each class, or on all.")]

Epochs = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Train for N epochs.", show_default="the method's in the paper", rich_help_panel=TRAINING
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr", metavar="RATE", help="Train with this learning rate.", show_default="the method's in the paper",
        rich_help_panel=TRAINING,
    ),
]  # fmt: skip
Optimizer = Annotated[
    literals.Optimizer | None,
    typer.Option(help="Train with this optimizer.", show_default="the method's", rich_help_panel=TRAINING),
]
TuneEncoders = Annotated[
    literals.Tune | None,
    typer.Option(help="Train these encoders.", show_default="the method's", rich_help_panel=TRAINING),
]
Contrast = Annotated[
    literals.Contrast | None,
    typer.Option(
        help="Contrast mmcoa's images with the prompts of their batch, as the paper, or with those of all classes.",
        show_default="batch", rich_help_panel=TRAINING,
    ),
]  # fmt: skip
ImageWeight = Annotated[
    float | None,
    typer.Option(
        metavar="WEIGHT", help="Weigh mmcoa's loss of attacked images.", show_default="0.5", rich_help_panel=TRAINING
    ),
]
TextWeight = Annotated[
    float | None,
    typer.Option(
        metavar="WEIGHT", help="Weigh mmcoa's loss of attacked prompts.", show_default="0.5", rich_help_panel=TRAINING
    ),
]
TrainingBatchSize = Annotated[
    int | None,
    typer.Option(metavar=N, help="Take N images a step.", show_default="the paper's", rich_help_panel=TRAINING),
]

Norm = Annotated[literals.Norm, typer.Option(help="Measure the perturbation in this norm.", rich_help_panel=IMAGE)]
Eps = Annotated[
    str,
    typer.Option(
        metavar="RADIUS", help="Keep the perturbation within this radius; pixels are in [0, 1].", rich_help_panel=IMAGE
    ),
]
Alpha = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Move by this much in each step.", show_default="1/255, for l2 2.5 eps / steps",
        rich_help_panel=IMAGE,
    ),
]  # fmt: skip
Steps = Annotated[int, typer.Option(metavar=N, help="Take N steps.", rich_help_panel=IMAGE)]
TrainingAlpha = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Move by this much in each step.", show_default="1/255", rich_help_panel=IMAGE),
]
TrainingSteps = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Take N steps in training; the test takes 100.", show_default="10", rich_help_panel=IMAGE
    ),
]
StopWhenFooled = Annotated[
    bool,
    typer.Option(
        "--stop-when-fooled", help="Leave an image alone once it is misclassified: faster, and another attack.",
        rich_help_panel=IMAGE,
    ),
]  # fmt: skip

Mlm = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Take the candidates for a word from this masked LM.", rich_help_panel=TEXT,
        autocompletion=c.one(known.mlms),
    ),
]  # fmt: skip
NoCollisions = Annotated[
    bool,
    typer.Option("--no-collisions", help="Never write the name of another class.", rich_help_panel=TEXT),
]

Seed = Annotated[int, typer.Option(metavar=N, help="Draw everything random from this seed.", rich_help_panel=SETTINGS)]
Seeds = Annotated[
    c.Numbers,
    typer.Option(
        "--seed", metavar="N,...", help="Draw everything random from this seed; train a run for each of several.",
        parser=c.numbers, rich_help_panel=SETTINGS,
    ),
]  # fmt: skip
Compat = Annotated[
    literals.Compat,
    typer.Option(help="Do as the paper says (none), or as its released code does (release).", rich_help_panel=SETTINGS),
]

More = Annotated[
    list[str] | None,
    typer.Option(
        "-o", "--option", metavar="NAME=VALUE", rich_help_panel=SETTINGS, autocompletion=c.one(known.settings),
        help="Set an option of the attacks that has no flag here, as `mmcoa list attacks` shows it; repeat for more.",
    ),
]  # fmt: skip

TrainingMore = Annotated[
    list[str] | None,
    typer.Option(
        "-o", "--option", metavar="NAME=VALUE", rich_help_panel=SETTINGS, autocompletion=c.one(known.training_settings),
        help="Set an option of the method, its attacks or its optimizer that has no flag here; repeat for more.",
    ),
]  # fmt: skip
BatchSize = Annotated[
    int,
    typer.Option(
        metavar=N, help="Take N images at a time; an interrupted evaluation resumes at the next N.",
        rich_help_panel=MACHINE,
    ),
]  # fmt: skip
Precision = Annotated[
    literals.Precision, typer.Option(help="Run the encoders in this precision.", rich_help_panel=MACHINE)
]
Processes = Annotated[
    int, typer.Option(metavar=N, help="Share the work among N processes, usually one a GPU.", rich_help_panel=MACHINE)
]
AccelerateConfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Start the processes as this file says, which `accelerate config` makes.",
        rich_help_panel=MACHINE,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Test:
    """The options of `evaluate` and `attack` beside what is tested, and under which attacks."""

    task: Task = "classification"
    limit: Limit = None
    pixel_size: PixelSize = None
    norm: Norm = "linf"
    eps: Eps = "1/255"
    alpha: Alpha = None
    steps: Steps = 100
    stop_when_fooled: StopWhenFooled = False
    mlm: Mlm = specs.DEFAULT_MLM
    no_collisions: NoCollisions = False
    seed: Seed = 0
    compat: Compat = "none"
    option: More = None
    batch_size: BatchSize = 128
    precision: Precision = "fp32"

    def chosen(self, context: typer.Context, attacks: Sequence[str], *, by: str) -> dict[str, Any]:
        """The options that were typed, with those of `-o`; attacks have their own defaults for the others.

        Raises UserError for those that none of these attacks has; `by` is what has no use for them ("--attack clean").
        """
        general = {one.name for one in fields(specs.EvaluationSpec)}
        unused = set(base.every_option()) - set(base.options_of(attacks)) - general
        refuse_unused(context, unused, by=f"{by} has no use for it")
        typed = {name: value for name, value in vars(self).items() if name in given(context) and name != "option"}
        kinds = [one.settings for one in base.with_needs(attacks) if one.settings]
        more = parse(self.option or (), kinds, of=by, but=general)
        twice = sorted(set(typed) & set(more))
        if twice:
            raise UserError(f"{twice[0]} is given twice", hint=f"once: as -o {twice[0]}=VALUE, or as the option it has")
        return typed | more


@dataclass(frozen=True)
class Training:
    """The options of `train` that decide the weights; those left out (None) have the paper's values."""

    method: Method = "mmcoa"
    dataset: Dataset = specs.DEFAULT_DATASET
    shots: Shots = "full"
    model: Model = specs.DEFAULT_MODEL
    epochs: Epochs = None
    lr: LearningRate = None
    optimizer: Optimizer = None
    tune: TuneEncoders = None
    contrast: Contrast = None
    image_weight: ImageWeight = None
    text_weight: TextWeight = None
    eps: Eps = "1/255"
    alpha: TrainingAlpha = None
    steps: TrainingSteps = None
    mlm: Mlm = specs.DEFAULT_MLM
    compat: Compat = "none"
    option: TrainingMore = None
    batch_size: TrainingBatchSize = None
    precision: Precision = "fp32"

    def chosen(self) -> dict[str, Any]:
        """All options, with those of `-o`. Raises UserError for one of these that the method does not have."""
        named = {name: value for name, value in vars(self).items() if name != "option"}
        kinds = specs.kinds_of(catalog.lookup(catalog.methods(), self.method, "method"))
        return named | parse(self.option or (), kinds, of=f"--method {self.method}", but={*named, "compat", "name"})


@dataclass(frozen=True)
class Start:
    """The options that say how work is started."""

    processes: Processes = 1
    accelerate_config: AccelerateConfig = None
