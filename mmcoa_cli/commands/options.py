"""Options that several verbs share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..attacks import base
from ..attacks.compat import CHOICES, PARTS
from ..catalog.recipes import recipes
from ..jobs.training_spec import DEFAULT_DATASET
from ..tasks import TASKS
from ..terminal import choices as c
from ..terminal import literals
from . import known
from .output import Json as Json

IMAGE, TEXT, TRAINING = "Image attack", "Text attack", "Training"
SETTINGS, MACHINE, AFTER = "Settings", "Machine", "Test"
N = "N"  # what a number is called in the help
DATASETS, ATTACKS = c.Names((DEFAULT_DATASET,)), c.Names(base.usual())

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
        help="Test these runs (the beginning of an id is enough) or, zero-shot, models, with commas between them.",
    ),
]  # fmt: skip
Keep = Annotated[
    str,
    typer.Option(
        metavar="all|last|N", help="Keep the weights after every epoch, the last, or the last N.", parser=c.keeping
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it takes here (time, memory, disk), and do nothing.")]
TestLimit = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Test on a class-balanced subset of N images when it is trained.", show_default="all",
        rich_help_panel=AFTER,
    ),
]  # fmt: skip
TestSteps = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Take N steps in the image attack of that test.", show_default="100", rich_help_panel=AFTER
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Make that test after every N epochs too, and keep its numbers alone.", show_default="never",
        rich_help_panel=AFTER,
    ),
]  # fmt: skip
Track = Annotated[
    literals.Tracker | None,
    typer.Option(
        help="Log loss, speed and accuracies for this tracker, in the run's folder, offline.",
        show_default="none",
        rich_help_panel=MACHINE,
    ),
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Have at most N images in memory at once; the step is the same. Takes a quarter longer or so.",
        show_default="the batch, or half of it as often as memory runs out", rich_help_panel=MACHINE,
    ),
]  # fmt: skip
Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute", help="Compute what lies inside a tower's blocks twice instead of keeping it: less memory, the"
        " same step, a third more time. Without it, where memory would not suffice.", rich_help_panel=MACHINE,
    ),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Read and decode images ahead in N more processes, in each that trains; 0 in that itself.",
        show_default="as many as suit the machine and the images", rich_help_panel=MACHINE,
    ),
]  # fmt: skip
TestedEpochs = Annotated[
    c.Numbers | None,
    typer.Option(
        metavar="N,...", help="Test a run as it was after these epochs, with commas between them.", parser=c.numbers,
        show_default="the last",
    ),
]  # fmt: skip
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
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Start from this CLIP: a name, ARCH:TAG, hf-hub:ORG/NAME, or one you fetched.",
        autocompletion=c.one(known.models),
    ),
]  # fmt: skip
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar=N, help="Train for N epochs.", show_default="the method's in the paper", rich_help_panel=TRAINING
    ),
]
Optimizer = Annotated[
    literals.Optimizer | None,
    typer.Option(help="Train with this optimizer.", show_default="the method's", rich_help_panel=TRAINING),
]
TuneEncoders = Annotated[
    literals.Tune | None,
    typer.Option(help="Train these encoders.", show_default="the method's", rich_help_panel=TRAINING),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help=f"Train in stages: {c.listed(recipes)} begins with small images and two steps of the attack. Another"
        " run, which reports name so.",
        show_default="all steps alike", rich_help_panel=TRAINING, **c.choice(recipes, "NAME"),
    ),
]  # fmt: skip
Contrast = Annotated[
    literals.Contrast,
    typer.Option(
        help="Contrast mmcoa's images with the prompts of their batch, as the paper, or with those of all classes.",
        rich_help_panel=TRAINING,
    ),
]
ImageWeight = Annotated[
    float,
    typer.Option(
        metavar="WEIGHT", help="Weigh attacked images by this in the loss of mmcoa.", rich_help_panel=TRAINING
    ),
]
TextWeight = Annotated[
    float,
    typer.Option(
        metavar="WEIGHT", help="Weigh attacked prompts by this in the loss of mmcoa.", rich_help_panel=TRAINING
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
    str,
    typer.Option(metavar="SIZE", help="Move by this much in each step.", rich_help_panel=IMAGE),
]
TrainingSteps = Annotated[
    int,
    typer.Option(metavar=N, help="Take N steps in training; the test takes 100.", rich_help_panel=IMAGE),
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
Compat = Annotated[
    str,
    typer.Option(
        help="Do as the paper says (none), as its released code does (release), or as that in some parts, with commas"
        f" between them: text (the text attack), {c.listed(lambda: PARTS)}.",
        rich_help_panel=SETTINGS, **c.joined(lambda: CHOICES, "none|release|PART,..."),
    ),
]  # fmt: skip

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
        help="Set an option of the method that has no flag here, as `mmcoa list methods` shows it; repeat for more.",
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
    literals.Precision,
    typer.Option(
        help="Run the encoders in this precision; what an attack made is judged in fp32.", rich_help_panel=MACHINE
    ),
]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast", help="Take kernels that may give other bits every time; another key.", rich_help_panel=MACHINE
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        metavar=N, help="Share the work among N processes, usually one a GPU.", rich_help_panel=MACHINE,
        show_default="1, or what the file of --accelerate-config says",
    ),
]  # fmt: skip
AccelerateConfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Start the processes as this file says, which `accelerate config` makes.",
        rich_help_panel=MACHINE,
    ),
]  # fmt: skip
