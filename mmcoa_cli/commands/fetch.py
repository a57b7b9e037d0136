"""`mmcoa fetch`: datasets, CLIP models and masked LMs into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.printable import visible

from .. import catalog
from ..catalog import Kind
from ..terminal.choices import choice, listed, one
from . import known
from . import output as o

if TYPE_CHECKING:
    from rich.table import Table

    from ..inventory import Fetched

own_dataset, own_clip = o.panel("A dataset of your own"), o.panel("A CLIP of your own")
WORDS = {"own": "own weights", "stand-in": "a stand-in"}
EXAMPLES = {
    "mmcoa fetch cifar10 ViT-B-32 bert-base-uncased": "Fetch a dataset, a CLIP and a masked LM",
    "mmcoa fetch --list": "List what there is, how large it is, and what is here",
    "mmcoa fetch --task ood": "Fetch all datasets that a table of the paper needs",
    "mmcoa fetch imagenet --from /data/imagenet": "Take train/WNID and val/WNID, or the official tars",
    "mmcoa fetch mybirds --from birds.zip": "Take train/CLASS/ and test/CLASS/, parquet, or webdataset",
    "mmcoa fetch mybirds --from birds --train-fraction 0.8": "Divide CLASS/IMAGE into train and test",
    "mmcoa fetch mycoco --from coco": "Take images with captions: dataset_coco.json, metadata.csv, or the like",
    "mmcoa fetch mybirds --from birds --class-names names.txt --replace": "Replace what is here",
    "mmcoa fetch fare2 --from fare_eps_2.pt --base ViT-L-14:openai": "Complete an image encoder",
    "mmcoa fetch ViT-B-16:laion2b_s34b_b88k hf-hub:ORG/NAME": "Fetch any CLIP that open_clip loads",
}


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...", help="Fetch these datasets, CLIP models and masked LMs; see --list.",
        autocompletion=one(known.everything),
    ),
]  # fmt: skip
List = Annotated[bool, typer.Option("--list", help="List what there is, and what is here.")]
All = Annotated[bool, typer.Option("--all", help="Fetch everything that --list shows.")]
OfTask = Annotated[
    str | None,
    typer.Option(
        help=f"Fetch all datasets of this task of the paper: {listed(catalog.tables)}.",
        **choice(catalog.tables, "TASK"),
    ),
]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="PATH", help="Take it from this folder, archive or file of this machine."),
]
OfKind = Annotated[Kind | None, typer.Option(help="Say what NAME is, where that is not clear.")]
Replace = Annotated[bool, typer.Option("--replace", help="Fetch it anew, in place of what is here.")]
ClassNames = Annotated[
    Path | None,
    own_dataset(metavar="FILE", help="Name the classes as this file does: one a line, in the order of the folders."),
]
Template = Annotated[str | None, own_dataset(metavar="TEXT", help='Make class prompts of this: "a photo of a {}".')]
SkipBroken = Annotated[bool, own_dataset("--skip-broken", help="Leave out images that cannot be used, and say which.")]
TrainFraction = Annotated[
    float | None,
    own_dataset(
        metavar="FRACTION", help="Divide images without splits: this part of each class to train on, the rest to test.",
        show_default="as they come",
    ),
]  # fmt: skip
SplitSeed = Annotated[
    int | None, own_dataset("--seed", metavar="N", help="Draw that part by this seed.", show_default="0")
]
Base = Annotated[
    str,
    own_clip(metavar="MODEL", help="Complete a file of one encoder with this CLIP.", autocompletion=one(known.models)),
]
Arch = Annotated[
    str, own_clip(metavar="ARCH[:TAG]", help="Take this architecture for a file of weights: ViT-B-32:openai.")
]


def command(
    names: Names = None,
    list_: List = False,
    all_: All = False,
    task: OfTask = None,
    from_: From = None,
    kind: OfKind = None,
    replace: Replace = False,
    class_names: ClassNames = None,
    template: Template = None,
    skip_broken: SkipBroken = False,
    train_fraction: TrainFraction = None,
    seed: SplitSeed = None,
    base: Base = "",
    arch: Arch = "",
    json: o.Json = False,
) -> None:
    """Bring datasets and models into the store, from the network or this machine, and say what was understood.

    What is here already is not fetched again. Where a name is taken by something else, choose another, or --replace."""
    from .. import inventory
    from ..settings import home
    from ..terminal.console import out, print_json

    if list_:
        found = inventory.listing(home())
        print_json(found) if json else out.print(_table(found))
        return
    if seed is not None and train_fraction is None:
        raise typer.BadParameter("--seed draws what --train-fraction asks for; give that too")
    wanted = _wanted(names, all_, task, from_)
    inventory.tell_needs_of(wanted, home(), source=from_, replace=replace)
    said = (lambda _: None) if json else _say
    fetched, failed = inventory.fetch_each(
        wanted, home(), said, source=from_, kind=kind, class_names=class_names, template=template,
        skip_broken=skip_broken, train_fraction=train_fraction, seed=seed or 0, replace=replace, base=base, arch=arch,
    )  # fmt: skip
    if json:
        documents = [{**vars(one), "about": one.about.document() if one.about else None} for one in fetched]
        print_json({"fetched": documents, "failed": {name: str(error) for name, error in failed.items()}})
    if failed:
        raise inventory.summary(failed, of=len(wanted))


def _wanted(names: list[str] | None, everything: bool, task: str | None, source: Path | None) -> list[str]:
    of_task = catalog.tables()[task].datasets if task else ()
    typed = [name for word in names or [] for name in word.split(",") if name]
    wanted = known.everything() if everything else list(dict.fromkeys([*typed, *of_task]))
    if not wanted:
        raise typer.BadParameter("name what to fetch; mmcoa fetch --list shows what there is")
    if source and len(wanted) > 1:
        raise typer.BadParameter("--from takes one NAME")
    return wanted


def _say(fetched: Fetched) -> None:
    """Say what is in the store now, and below it what was understood."""
    from rich.filesize import decimal

    from ..terminal.console import indented, out, show

    size, stand_in = decimal(fetched.bytes), catalog.models().get(fetched.name) or catalog.mlms().get(fetched.name)
    how = "trained" if stand_in and stand_in.embedded else "fetched"
    show(f"{fetched.name}: {how if fetched.new else 'already here'}, {size} in {fetched.path}")
    if fetched.about:
        out.print(indented(fetched.about.lines()))


def _table(found: dict[str, list[dict[str, Any]]]) -> Table:
    from rich.table import Table

    table = Table("name", "what", box=None, header_style="bold", pad_edge=False)
    table.add_column("size", justify="right")
    table.add_column("here")
    for row in found["datasets"]:
        images = ", ".join(f"{n:,} {split}" for split, n in row["splits"].items())
        _add(table, row, f"{row['classes']:,} classes, {images}" if row["classes"] else f"captions, {images}")
    for kind, title in (("models", "CLIP"), ("mlms", "masked LM")):
        for row in found[kind]:
            _add(table, row, title if row["origin"] == "published" else f"{title}, {WORDS[row['origin']]}")
    return table


def _add(table: Table, row: dict[str, Any], what: str) -> None:
    from rich.filesize import decimal
    from rich.text import Text

    size = decimal(row["bytes"]) if row["bytes"] else "-"
    here, style = ("a part", "yellow") if row.get("part") else ("yes", "green") if row["here"] else ("no", "")
    table.add_row(visible(row["name"]), what, size, Text(here, style=style))
