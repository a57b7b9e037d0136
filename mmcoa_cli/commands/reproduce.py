"""`mmcoa reproduce`: everything a table or figure of the paper needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..jobs.training_spec import DEFAULT_MLM, DEFAULT_MODEL
from ..terminal.choices import choice, listed, one
from ..terminal.literals import Cluster, Preset
from . import groups, known
from . import options as o
from .output import panel

EXAMPLES = {
    "mmcoa reproduce table1 --dry-run": "Print the plan: what is there, what is left, how long it takes here",
    "mmcoa reproduce table2 --preset quick --hours 2": "Do what this machine can in two hours",
    "mmcoa reproduce table2 --jobs 4": "Do four steps at once, each on a GPU of its own",
    "mmcoa reproduce table1 --explain": "Take the difference to the paper's numbers apart",
    "mmcoa reproduce table2 --on slurm --partition gpu --gpus 1": "Hand the work to Slurm, a job a model",
    "mmcoa reproduce table2 --status": "Show these jobs",
    "mmcoa reproduce table1 --preset quick --source digits --model tiny-clip --mlm tiny-mlm": "Use no network",
}


NamesOf = Annotated[
    list[str],
    typer.Argument(
        help=f"Make these tables and figures: {listed(known.reproducible)}.", **choice(known.reproducible, "NAME...")
    ),
]
OfPreset = Annotated[
    Preset,
    typer.Option(
        help="Take the paper's settings, and fetch missing datasets (paper); or the datasets that are here, and the"
        " largest of ten sizes (training images a class, epochs, test images, attack steps) that takes --hours or"
        " less from the beginning (quick)."
    ),
]
Hours = Annotated[float, typer.Option(metavar="HOURS", help="With quick: take no longer, by a measurement of seconds.")]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Train on this dataset instead of the paper's.", autocompletion=one(known.datasets),
        show_default="the paper's; with quick, where that is not here, the one with the most classes",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan, and do nothing.")]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Do everything once more as the paper's released code does it, a switch at a time and then all together,"
        " and say by how much each moves our numbers.",
    ),
]
FineTuningRate = Annotated[
    float | None,
    o.training(
        "--lr", metavar="RATE", show_default="the method's in the paper",
        help="Fine-tune with this learning rate; learned prompts (vp, advpt) keep their own, which is of another size.",
    ),
]  # fmt: skip
cluster = panel("On a cluster")
On = Annotated[
    Cluster | None,
    cluster(
        help="Hand the work to Slurm, a job a model that goes on where it was ended; or to the background of this"
        " machine (local).",
        show_default="none",
    ),
]
Partition = Annotated[
    str | None, cluster(metavar="NAME", help="Hand the jobs to this partition.", show_default="the cluster's")
]
Gpus = Annotated[int, cluster(metavar=o.N, help="Give each job N GPUs of one machine, and a process for each.")]
TimeLimit = Annotated[
    float, cluster(metavar="HOURS", help="Give each job so long; one that needs longer queues again, and goes on.")
]
Sbatch = Annotated[
    list[str] | None,
    cluster("--slurm", metavar="NAME=VALUE", help="Set an option of sbatch (account=LAB); repeat for more."),
]
Status = Annotated[bool, cluster("--status", help="Show how far the jobs of this plan are.")]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write all of it into this HTML page.", dir_okay=False,
        show_default="of several, reproduce.html",
    ),
]  # fmt: skip


def command(
    names: NamesOf,
    *,
    preset: OfPreset = "paper",
    hours: Hours = 2.0,
    source: Source = None,
    explain: Explain = False,
    dry_run: DryRun = False,
    output: Output = None,
    json: o.Json = False,
    model: o.Model = DEFAULT_MODEL,
    mlm: o.Mlm = DEFAULT_MLM,
    lr: FineTuningRate = None,
    batch_size: o.TrainingBatchSize = None,
    seed: o.Seed = 0,
    compat: o.Compat = "none",
    precision: o.Precision = "fp32",
    start: groups.StartOfSeveral,
    on: On = None,
    partition: Partition = None,
    gpus: Gpus = 1,
    time_limit: TimeLimit = 24.0,
    slurm: Sbatch = None,
    status: Status = False,
) -> None:
    """Train and test what a table or figure of the paper needs and is not there yet; then print it."""
    from ..cluster import reproduce as on_cluster
    from ..cluster.submission import Allocation, sbatch_options
    from ..plans.reproduce import reproduce
    from ..plans.request import Request

    share = start.processes if start.processes > 1 or on != "slurm" else max(gpus, 1)
    order = Request(
        tuple(names), preset=preset, hours=hours, source=source, model=model, mlm=mlm, lr=lr, batch_size=batch_size,
        seed=seed, compat=compat, precision=precision, explain=explain, jobs=start.at_once(),
        start=replace(start.chosen(), processes=share),
    )  # fmt: skip
    if status:
        return on_cluster.show(order, as_json=json)
    if on:
        allocation = Allocation(on, partition, gpus, time_limit, sbatch_options(slurm or ()))
        return on_cluster.hand_in(order, allocation, dry_run=dry_run, as_json=json)
    reproduce(order, dry_run=dry_run, output=output, as_json=json)
