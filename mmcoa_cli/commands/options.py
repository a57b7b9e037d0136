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
from .output import panel

N = "N"  # what a number is called in the help
image, text, training = panel("Image attack"), panel("Text attack"), panel("Training")
settings, machine, after = panel("Settings"), panel("Machine"), panel("Test")
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
    after(metavar=N, help="Test on a class-balanced subset of N images when it is trained.", show_default="all"),
]
TestSteps = Annotated[
    int | None, after(metavar=N, help="Take N steps in the image attack of that test.", show_default="100")
]
EvaluateEvery = Annotated[
    int | None,
    after(metavar=N, help="Make that test after every N epochs too, and keep its numbers alone.", show_default="never"),
]
Track = Annotated[
    literals.Tracker | None,
    machine(help="Log loss, speed and accuracies for this tracker, in the run's folder, offline.", show_default="none"),
]
MicroBatch = Annotated[
    int | None,
    machine(
        metavar=N, help="Have at most N images in memory at once; the step is the same. Takes a quarter longer or so.",
        show_default="the batch, or half of it as often as memory runs out",
    ),
]  # fmt: skip
Recompute = Annotated[
    bool,
    machine(
        "--recompute", help="Compute what lies inside a tower's blocks twice instead of keeping it: less memory, the"
        " same step, a third more time. Without it, where memory would not suffice.",
    ),
]  # fmt: skip
Workers = Annotated[
    int | None,
    machine(
        metavar=N, help="Read and decode images ahead in N more processes, in each that trains; 0 in that itself.",
        show_default="as many as suit the machine and the images",
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
    int | None, training(metavar=N, help="Train for N epochs.", show_default="the method's in the paper")
]
Optimizer = Annotated[
    literals.Optimizer | None, training(help="Train with this optimizer.", show_default="the method's")
]
TuneEncoders = Annotated[literals.Tune | None, training(help="Train these encoders.", show_default="the method's")]
Recipe = Annotated[
    str | None,
    training(
        help=f"Train in stages: {c.listed(recipes)} begins with small images and two steps of the attack. Another"
        " run, which reports name so.",
        show_default="all steps alike", **c.choice(recipes, "NAME"),
    ),
]  # fmt: skip
Contrast = Annotated[
    literals.Contrast,
    training(
        help="Contrast mmcoa's images with the prompts of their batch, as the paper, or with those of all classes.",
    ),
]
ImageWeight = Annotated[float, training(metavar="WEIGHT", help="Weigh attacked images by this in the loss of mmcoa.")]
TextWeight = Annotated[float, training(metavar="WEIGHT", help="Weigh attacked prompts by this in the loss of mmcoa.")]
TrainingBatchSize = Annotated[int | None, training(metavar=N, help="Take N images a step.", show_default="the paper's")]

Norm = Annotated[literals.Norm, image(help="Measure the perturbation in this norm.")]
Eps = Annotated[str, image(metavar="RADIUS", help="Keep the perturbation within this radius; pixels are in [0, 1].")]
Alpha = Annotated[
    str | None,
    image(metavar="SIZE", help="Move by this much in each step.", show_default="1/255, for l2 2.5 eps / steps"),
]
Steps = Annotated[int, image(metavar=N, help="Take N steps.")]
TrainingAlpha = Annotated[str, image(metavar="SIZE", help="Move by this much in each step.")]
TrainingSteps = Annotated[int, image(metavar=N, help="Take N steps in training; the test takes 100.")]
StopWhenFooled = Annotated[
    bool, image("--stop-when-fooled", help="Leave an image alone once it is misclassified: faster, and another attack.")
]

Mlm = Annotated[
    str,
    text(metavar="NAME", help="Take the candidates for a word from this masked LM.", autocompletion=c.one(known.mlms)),
]
NoCollisions = Annotated[bool, text("--no-collisions", help="Never write the name of another class.")]

Seed = Annotated[int, settings(metavar=N, help="Draw everything random from this seed.")]
Compat = Annotated[
    str,
    settings(
        help="Do as the paper says (none), as its released code does (release), or as that in some parts, with commas"
        f" between them: text (the text attack), {c.listed(lambda: PARTS)}.",
        **c.joined(lambda: CHOICES, "none|release|PART,..."),
    ),
]  # fmt: skip

More = Annotated[
    list[str] | None,
    settings(
        "-o", "--option", metavar="NAME=VALUE", autocompletion=c.one(known.settings),
        help="Set an option of the attacks that has no flag here, as `mmcoa list attacks` shows it; repeat for more.",
    ),
]  # fmt: skip

TrainingMore = Annotated[
    list[str] | None,
    settings(
        "-o", "--option", metavar="NAME=VALUE", autocompletion=c.one(known.training_settings),
        help="Set an option of the method that has no flag here, as `mmcoa list methods` shows it; repeat for more.",
    ),
]  # fmt: skip
BatchSize = Annotated[
    int, machine(metavar=N, help="Take N images at a time; an interrupted evaluation resumes at the next N.")
]
Precision = Annotated[
    literals.Precision, machine(help="Run the encoders in this precision; what an attack made is judged in fp32.")
]
Fast = Annotated[
    bool,
    machine(
        "--fast", help="Take kernels that may give other bits every time, compiled ones where that pays; another key."
    ),
]
Processes = Annotated[
    int,
    machine(
        metavar=N, help="Share the work among N processes, usually one a GPU.",
        show_default="1, or what the file of --accelerate-config says",
    ),
]  # fmt: skip
Jobs = Annotated[
    int,
    machine(
        metavar=N, help="Do N steps that do not need each other at once, each on a GPU of its own where there are"
        " several. Results are the same.",
    ),
]  # fmt: skip
AccelerateConfig = Annotated[
    Path | None, machine(metavar="FILE", help="Start the processes as this file says, which `accelerate config` makes.")
]
