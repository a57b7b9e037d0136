"""`mmcoa store`: what is stored, whether it is intact, removing it, and moving it to another store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.filesize import decimal

from store.errors import UserError

from ..terminal.choices import keeping, kept, one
from ..terminal.given import OnceEach
from ..terminal.help_text import epilog
from ..terminal.on_demand import QuickGroup
from . import known
from . import output as o

if TYPE_CHECKING:
    from ..stored.listing import Inventory
    from ..stored.removing import Removal

EXAMPLES = {
    "mmcoa store ls runs": "List the runs with their sizes, and what they use",
    "mmcoa store info RUN": "Show what a run was made of, its files and its evaluations",
    "mmcoa store verify": "Check all of the store; end with exit code 1 where something is damaged",
    "mmcoa store verify cifar10": "Check one dataset, model or run, or the examples of a key",
    "mmcoa store rm RUN": "Remove a run, its evaluations and its examples, after a question",
    "mmcoa store rm cifar10 ViT-B-32 --dry-run": "List what would go",
    "mmcoa store gc": "Remove what nothing refers to, after a question",
    "mmcoa store gc --keep last --yes": "Remove all epochs but the last as well, without a question",
    "mmcoa store export RUN run.zip --examples": "Write a run with its results and its adversarial examples",
    "mmcoa store import run.zip": "Bring it into another store",
}


def _examples(verb: str) -> str:
    return epilog({line: what for line, what in EXAMPLES.items() if line.startswith(f"mmcoa store {verb}")})


app = typer.Typer(cls=QuickGroup, no_args_is_help=True, help="Look after what is stored.", epilog=_examples(""))

Group = Literal["datasets", "models", "runs", "examples", "all"]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Show this run, dataset, model, or example set (a key, or its beginning).",
        autocompletion=one(known.stored),
    ),
]  # fmt: skip
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="Remove these runs, evaluations, datasets, models, or example sets.",
        autocompletion=one(known.stored),
    ),
]  # fmt: skip
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Remove without a question.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List what would go, and remove nothing.")]


@app.callback()
def options() -> None:
    """Look after what is stored."""


@app.command(epilog=_examples("ls"), cls=OnceEach)
def ls(
    group: Annotated[Group, typer.Argument(help="List these alone.")] = "all",
    json: o.Json = False,
) -> None:
    """List what is stored: how large it is, since when it is here, and what uses what."""
    from ..stored import listing
    from ..terminal.console import out, print_json

    found = listing.chosen(_inventory(), group)
    if json:
        print_json({"stored": [entry.document() for entry in found], "bytes": sum(entry.bytes for entry in found)})
    else:
        out.print(listing.table(found))


@app.command(epilog=_examples("info"), cls=OnceEach)
def info(name: Name, json: o.Json = False) -> None:
    """Show all of one thing: its files, what it was made of, and what uses it."""
    from ..stored import listing
    from ..terminal.console import out, print_json

    inventory = _inventory()
    about = listing.about(inventory, inventory.find(name))
    if json:
        print_json(about)
    else:
        out.print(listing.told(about))


@app.command(epilog=_examples("verify"), cls=OnceEach)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Check these datasets, models, runs, or example sets (a key, or its beginning).",
            show_default="all", autocompletion=one(known.stored),
        ),
    ] = None,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Read what is stored again, and compare it with the checksums recorded when it was written."""
    from ..settings import home
    from ..stored import verifying
    from ..terminal.console import out, print_json

    found = verifying.verify(home(), names or [], quiet=json)
    if json:
        print_json({"ok": not any(entry.reason for entry in found), "checked": found})
    else:
        out.print(verifying.table(found))
    error = verifying.verdict(found)
    if error:
        raise error


@app.command(epilog=_examples("rm"), cls=OnceEach)
def rm(names: Names, yes: Yes = False, dry_run: DryRun = False, json: o.Json = False) -> None:
    """Remove things with what hangs on them: a run with its evaluations and example sets."""
    from ..stored.removing import removals

    inventory = _inventory()
    _remove(inventory, removals(inventory, names), yes=yes, dry_run=dry_run, json=json)


@app.command(epilog=_examples("gc"), cls=OnceEach)
def gc(
    keep: Annotated[
        str,
        typer.Option(
            metavar="all|last|N", help="Keep all epochs of complete runs, the last, or the last N.", parser=keeping
        ),
    ] = "all",
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Remove example sets that are not whole.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: o.Json = False,
) -> None:
    """Remove what nothing refers to: remains, examples of runs that are gone, optimizer state of complete runs."""
    from ..stored.garbage import garbage

    inventory = _inventory()
    found = garbage(inventory, keep=kept(keep), unfinished=unfinished)
    _remove(inventory, found, yes=yes, dry_run=dry_run, json=json)


@app.command(epilog=_examples("export"), cls=OnceEach)
def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Export this finished run.", autocompletion=one(known.runs))
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Write this archive, a zip.")],
    examples: Annotated[bool, typer.Option("--examples", help="Add the example sets, with their prompts.")] = False,
    json: o.Json = False,
) -> None:
    """Write a run with its weights and results to one archive, for another store."""
    from ..settings import home
    from ..stored import moving
    from ..terminal.console import print_json, show

    moved = moving.export(home(), run, file, examples=examples)
    if json:
        print_json(asdict(moved))
    else:
        show(f"{moved.run}: {moved.evaluations} evaluations, {decimal(moved.bytes)} in {moved.path}")


@app.command(name="import", epilog=_examples("import"), cls=OnceEach)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Read this archive.")], json: o.Json = False
) -> None:
    """Bring the run of an archive into the store, with its results."""
    from ..settings import home
    from ..stored import moving
    from ..terminal.console import print_json, show

    moved = moving.take(home(), file)
    if json:
        print_json(asdict(moved))
    else:
        show(f"{moved.run}: {moved.new} of {moved.evaluations} evaluations are new here, {decimal(moved.bytes)}")


def _inventory() -> Inventory:
    from ..settings import home
    from ..stored.listing import Inventory

    return Inventory(home())


def _remove(inventory: Inventory, found: Sequence[Removal], *, yes: bool, dry_run: bool, json: bool) -> None:
    """List it, ask, and remove it."""
    from ..stored import removing
    from ..terminal.console import err, out, print_json

    size = sum(item.bytes for item in found)
    document = {"removed": [removing.document(item) for item in found], "bytes": size, "dry_run": dry_run}
    if found or not json:
        (err if json else out).print(removing.table(found))
    if found and not dry_run:
        if not yes:
            _ask(len(found), size)
        removing.perform(inventory, found)
    if json:
        print_json(document)


def _ask(count: int, size: int) -> None:
    """Raises UserError where nobody can answer, or the answer is no."""
    if not sys.stdin.isatty():
        raise UserError(
            "nothing is removed without an answer, and there is no terminal to ask", hint="--yes removes it"
        )
    if not typer.confirm(f"Remove {count} of these, {decimal(size)}?", err=True):
        raise UserError("nothing was removed", hint="--dry-run lists what would be")
