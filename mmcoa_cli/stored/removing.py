"""`mmcoa store rm`: things of the store, with what hangs on them.

Rows of the index go first. So a kill at any moment leaves files that no row refers to, which `mmcoa store gc` finds,
and never a row whose files are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from store.errors import UserError
from store.files import discard, is_held, lock_or_refuse
from store.verification import forget

from .items import EXAMPLES, SHORTEST_KEY, size_of
from .listing import EVALUATION, RUN, SHOWN, Inventory

BUSY = "wait until that has ended"


@dataclass(frozen=True)
class Removal:
    """One thing that goes: rows of the index (a run with all of its own, or evaluations), and files. `why` says what
    there is to know of it."""

    kind: str
    name: str
    paths: tuple[Path, ...] = ()
    why: str = ""
    run: str = ""
    evaluations: tuple[str, ...] = ()
    locked: Path | None = None  # what whoever makes or uses it holds the lock of

    @property
    def bytes(self) -> int:
        return sum(size_of(path) for path in self.paths if path.exists())


def removals(inventory: Inventory, names: Iterable[str]) -> list[Removal]:
    """What `names` stand for, with what hangs on it. Raises UserError for a name that is nothing, or several."""
    found: list[Removal] = []
    for name in names:
        found += _evaluations(inventory, name) or _of_entry(inventory, name)
    return list({(one.kind, one.name): one for one in found}.values())


def perform(inventory: Inventory, what: Sequence[Removal]) -> None:
    """Remove it all. Raises UserError, and removes nothing, where another process uses any of it."""
    with ExitStack() as held:
        for one in what:
            if one.locked:
                held.enter_context(lock_or_refuse(one.locked, what=f"{one.kind} {one.name}"))
        _refuse_busy(inventory, what)
        for one in what:
            if one.run and inventory.index:
                inventory.index.remove_run(one.run)
            if one.evaluations and inventory.index:
                inventory.index.remove_results(one.evaluations)
        for one in what:
            for path in one.paths:
                forget(path)
                discard(path)


def table(what: Sequence[Removal]) -> RenderableType:
    """A line a thing, and what all of it takes."""
    if not what:
        return Text("nothing to remove")
    grid = Table.grid(padding=(0, 2, 0, 0))
    for one in what:
        rows = f"{len(one.evaluations)} in the index" if one.kind == EVALUATION and len(one.evaluations) > 1 else ""
        name = one.name[:SHOWN] if one.kind in (EVALUATION, EXAMPLES) else one.name
        grid.add_row(one.kind, name, decimal(one.bytes) if one.paths else "", Text(one.why or rows, style="dim"))
    grid.add_row("", f"{len(what)} in all", decimal(sum(one.bytes for one in what)))
    return grid


def document(one: Removal) -> dict[str, Any]:
    paths = [str(path) for path in one.paths]
    return {"kind": one.kind, "name": one.name, "bytes": one.bytes, "why": one.why, "paths": paths}


def _evaluations(inventory: Inventory, name: str) -> list[Removal]:
    """An evaluation by its id or the beginning of that, with its example set where no other has it."""
    links = [link for link in inventory.links if link.evaluation.startswith(name) and len(name) >= SHORTEST_KEY]
    ids = {link.evaluation for link in links}
    if not ids:
        return []
    if len(ids) > 1 and name not in ids:
        raise UserError(f"{len(ids)} evaluations begin with {name!r}", hint=f"type more: {', '.join(sorted(ids)[:5])}")
    own = next(link for link in links if name not in ids or link.evaluation == name)
    removal = Removal(
        EVALUATION, own.evaluation, why=f"{own.attack} on {own.dataset} of {own.run_id}", evaluations=(own.evaluation,)
    )
    return [removal, *_sets(inventory, [own.examples], but_of={own.evaluation})]


def _of_entry(inventory: Inventory, name: str) -> list[Removal]:
    entry = inventory.find(name)
    if entry.kind == RUN:
        return _run(inventory, entry.name)
    if entry.kind == EXAMPLES:
        of = tuple(link.evaluation for link in inventory.links if link.examples == entry.name)
        why = f"with {len(of)} evaluations of it" if of else ""
        return [Removal(EXAMPLES, entry.name, entry.paths, why, evaluations=of, locked=entry.paths[0])]
    why = f"used by {', '.join(entry.used_by[:3])}; results stay" if entry.used_by else ""
    return [Removal(entry.kind, entry.name, entry.paths, why, locked=entry.paths[0])]


def _run(inventory: Inventory, run: str) -> list[Removal]:
    """A run, its evaluations, and the example sets that no other run has."""
    links = [link for link in inventory.links if link.run_id == run]
    ids = {link.evaluation for link in links}
    users = [other.id for other in inventory.runs if other.model == run]
    why = "; ".join(
        [*([f"with {len(ids)} evaluations"] if ids else []), *([f"used by {', '.join(users)}"] if users else [])]
    )
    paths = inventory.paths_of_run(run)
    return [
        Removal(RUN, run, paths, why, run=run, evaluations=tuple(sorted(ids)), locked=inventory.home.runs / run),
        *_sets(inventory, [link.examples for link in links], but_of=ids),
    ]


def _sets(inventory: Inventory, keys: Iterable[str], *, but_of: set[str]) -> list[Removal]:
    """Example sets that only these evaluations have."""
    others = {link.examples for link in inventory.links if link.evaluation not in but_of}
    files = {key: inventory.home.examples / f"{key}.h5" for key in dict.fromkeys(keys) if key not in others}
    return [Removal(EXAMPLES, key, (file,), locked=file) for key, file in files.items() if file.is_file()]


def _refuse_busy(inventory: Inventory, what: Sequence[Removal]) -> None:
    """A run, a dataset or a model is used by whoever trains with it, or makes examples of whatever."""
    home, gone = inventory.home, {one.name for one in what if one.kind not in (EXAMPLES, EVALUATION)}
    if not gone:
        return
    for run in inventory.runs:
        used = gone & {run.source, run.model}
        if used and run.status != "complete" and run.id not in gone and is_held(home.runs / run.id):
            raise UserError(f"{', '.join(used)} is used by run {run.id}, which is being trained", hint=BUSY)
    own = {one.name for one in what if one.kind == EXAMPLES}
    for lock in home.examples.glob("*.h5.lock"):
        key = lock.name.removesuffix(".h5.lock")
        if key not in own and is_held(home.examples / f"{key}.h5"):
            told = ", ".join(f"{one.kind} {one.name}" for one in what if one.name in gone)
            raise UserError(f"another process makes examples ({key[:12]}), perhaps with {told}", hint=BUSY)
