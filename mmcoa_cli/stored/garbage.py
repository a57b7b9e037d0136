"""`mmcoa store gc`: what nothing refers to. Nothing of it is needed to print or to repeat a result.

An example set is referred to by an evaluation, or by weights that are still here: attacks start from sets of others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from store.checkpoints import STATE
from store.errors import UserError
from store.files import GONE, is_held

from ..models.current_digests import Present
from ..models.epochs import epochs_in, number_of
from .items import CHECKPOINT, EXAMPLES
from .listing import RUN, Inventory
from .removing import Removal

REMAINS, STATE_KIND, UNFINISHED = "remains", "optimizer state", "unfinished examples"
ENDINGS = (".partial", ".old", ".scratch", GONE)
COMPLETE = "complete"
FORGOTTEN = 30  # days after which nobody will type the command of a dry run


def garbage(inventory: Inventory, *, keep: int | None = None, unfinished: bool = False) -> list[Removal]:
    """What can go. Of the epochs of complete runs all but the last `keep` go, none where that is None, unless they were
    tested; sets that are not whole go where `unfinished`.

    Where there is no index, only what was interrupted is known to be in no use.
    """
    found = [*_remains(inventory), *_forgotten(inventory)]
    if unfinished:
        found += _unfinished(inventory)
    if inventory.index is not None:
        found += [*_runs_without_row(inventory), *_epochs(inventory, keep), *_examples(inventory)]
    return found


def _remains(inventory: Inventory) -> Iterator[Removal]:
    """Of interrupted commands: half written, half removed, moved aside; and blocks of sets that are whole."""
    root, home = inventory.home.root, inventory.home
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        folders = path.relative_to(root).parts[:-1]
        within = any(map(_is_remains, folders)) or any(name.endswith(".parts") for name in folders)
        if _is_remains(path.name, folders) and not within and not _in_use(path):
            yield Removal(REMAINS, str(path.relative_to(root)), (path,), "of an interrupted command")
    for path in sorted(home.examples.glob("*.parts")):
        whole = path.with_suffix(".h5")
        if whole.exists() and not is_held(whole):
            yield Removal(REMAINS, str(path.relative_to(root)), (path,), "blocks of a set that is whole")


def _forgotten(inventory: Inventory) -> Iterator[Removal]:
    """What dry runs left whose commands were not typed for long."""
    oldest = time.time() - FORGOTTEN * 24 * 60 * 60
    for path in sorted(inventory.home.planned.glob("[!.]*.json")):
        if path.stat().st_mtime < oldest:
            name, why = str(path.relative_to(inventory.home.root)), f"of a dry run more than {FORGOTTEN} days ago"
            yield Removal(REMAINS, name, (path,), why)


def _is_remains(name: str, folders: tuple[str, ...] = ()) -> bool:
    """Hidden, as what is written or moved aside is; but for downloads and epochs. A model may be called x.old."""
    written = name.endswith(".partial") and folders[:1] in (("datasets",), ("checkpoints",))
    return (name.startswith(".") and name.endswith(ENDINGS)) or written


def _in_use(path: Path) -> bool:
    """Whether whoever writes there holds the lock of the file that it becomes, or of a folder around it."""
    name = path.name
    while name.endswith(ENDINGS):
        name = name.rpartition(".")[0]
    name = name.removeprefix(".")
    return any(is_held(path.with_name(one)) for one in (name, f"{name}.h5")) or is_held(path.parent)


def _unfinished(inventory: Inventory) -> Iterator[Removal]:
    for path in sorted(inventory.home.examples.glob("*.parts")):
        whole = path.with_suffix(".h5")
        if not whole.exists() and not is_held(whole):
            yield Removal(UNFINISHED, path.stem, (path,), "the command that began it goes on from here", locked=whole)


def _runs_without_row(inventory: Inventory) -> Iterator[Removal]:
    home, known = inventory.home, {run.id for run in inventory.runs}
    names = {path.name for folder in (home.checkpoints, home.runs) for path in folder.glob("[!.]*") if path.is_dir()}
    for name in sorted(names - known):
        if not is_held(home.runs / name):
            paths = inventory.paths_of_run(name)
            yield Removal(RUN, name, paths, "the index knows no such run", locked=home.runs / name)


def _epochs(inventory: Inventory, keep: int | None) -> Iterator[Removal]:
    """Of complete runs: the optimizer's state, and epochs before the last ones that no evaluation is of."""
    tested = {link.weights for link in inventory.links}
    present = Present(inventory.home)
    for run in inventory.runs:
        folder = inventory.home.checkpoints / run.id
        epochs = epochs_in(folder) if run.status == COMPLETE else []
        if not epochs or is_held(inventory.home.runs / run.id):
            continue
        gone = [] if keep is None else epochs[:-keep]
        for epoch in epochs:
            name = f"{run.id}/{epoch.name}"
            if epoch in gone and present.weights(run, number_of(epoch)) not in tested:
                yield Removal(CHECKPOINT, name, (epoch,), "not the last", locked=inventory.home.runs / run.id)
            elif (epoch / STATE).is_file():
                why = "the run is complete; without it, it cannot go on to more epochs"
                yield Removal(STATE_KIND, name, (epoch / STATE,), why, locked=inventory.home.runs / run.id)


def _examples(inventory: Inventory) -> Iterator[Removal]:
    """Sets that no evaluation has, of weights that are not here either."""
    in_use = {link.examples for link in inventory.links}
    files = [path for path in sorted(inventory.home.examples.glob("[!.]*.h5")) if path.stem not in in_use]
    here = _weights_here(inventory) if files else set()
    for path in files:
        if not is_held(path) and _weights_of(path) not in here:
            yield Removal(EXAMPLES, path.stem, (path,), "no evaluation has it, and its model is gone", locked=path)


def _weights_here(inventory: Inventory) -> set[str]:
    home, present = inventory.home, Present(inventory.home)
    models = {present.model(path.name) for path in home.clips.glob("[!.]*") if path.is_dir()}
    rows = {run.weights for run in inventory.runs} | {link.weights for link in inventory.links}
    return {weights for weights in (*models, *rows) if weights}


def _weights_of(path: Path) -> str:
    """Of a set that cannot be read, none: it is damaged, and made again where it is asked for."""
    from store.examples import stored_set

    try:
        return str(stored_set(path).spec.get("weights", ""))
    except UserError:
        return ""
