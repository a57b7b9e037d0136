"""What `mmcoa doctor` looks at: this machine and this store. Every check says what to do where something is wrong.

Nothing is changed, but for a file that is written and removed again to see whether the store can be written to. The
network is not touched, and no secret (a token, the password of a database) is ever part of a check.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from store.errors import UserError
from store.files import disk_of, existing
from store.printable import visible

from . import __version__
from .memory import available, installed
from .settings import Home
from .stored.items import size_of
from .stored.listing import counted

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
STYLES = {OK: "green", WARN: "bold yellow", FAIL: "bold red", SKIP: "dim"}
GB = 10**9
MOST_COMMANDS = 3  # that one advice names
SHOWN = ("torch", "open_clip_torch", "transformers", "accelerate", "sqlalchemy", "h5py")
ONE_MACHINE = "use this store from one machine at a time, or have the disk mounted with its locks"
REINSTALL = "reinstall mmcoa into a new virtual environment"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it (empty where all is well)."""

    group: str
    name: str
    status: str
    found: str
    advice: str = ""


def checks(home: Home) -> list[Check]:
    """All checks, by group. What cannot even be looked at is a failed check, and the others go on."""
    found: list[Check] = []
    for group, look in GROUPS.items():
        try:
            for check in look(home):
                found.append(check)
        except ImportError as error:
            found.append(Check(group, group, FAIL, f"cannot be looked at: {error}", REINSTALL))
        except OSError as error:
            advice = "put that right, or set MMCOA_HOME to another folder"
            found.append(Check(group, group, FAIL, f"cannot be looked at: {error}", advice))
    return found


def verdict(found: list[Check]) -> UserError | None:
    """The error that `mmcoa doctor` ends with, None where no check failed."""
    failed = [check for check in found if check.status == FAIL]
    if not failed:
        return None
    return UserError(f"failed: {', '.join(check.name for check in failed)}", hint=failed[0].advice)


def table(found: list[Check]) -> RenderableType:
    """The checks for a person: a block for each group, and below a check what to do about it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for number, check in enumerate(found):
        if number == 0 or check.group != found[number - 1].group:
            if number:
                grid.add_row()
            grid.add_row("", Text(check.group, style="bold cyan"))
        grid.add_row(Text(check.status, style=STYLES[check.status]), check.name, Text(visible(check.found)))
        if check.advice:
            grid.add_row("", "", Text(visible(f"> {check.advice}"), style="bold"))
    return grid


def _software(_: Home) -> Iterator[Check]:
    yield Check("software", "python", OK, platform.python_version())
    yield Check("software", "mmcoa", OK, __version__)
    yield _same_place()
    required = _required()
    for name in SHOWN:
        yield _package(name, required.pop(name, ""))
    others = [_package(name, wanted) for name, wanted in required.items()]
    wrong = [check for check in others if check.status != OK]
    found = f"{len(others)}, all as required" if others else "not known: mmcoa is not installed, only checked out"
    yield from wrong or [Check("software", "other packages", OK, found)]


def _required() -> dict[str, str]:
    """The packages mmcoa needs and the versions it accepts, as far as its own metadata is installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("mmcoa") or []
    except metadata.PackageNotFoundError:
        return {}
    every = [Requirement(line) for line in lines]
    return {entry.name: str(entry.specifier) for entry in every if not entry.marker or entry.marker.evaluate()}


def _package(name: str, wanted: str) -> Check:
    from packaging.specifiers import SpecifierSet

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check("software", name, FAIL, "missing", f"pip install '{name}{wanted}'")
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("software", name, FAIL, f"{version}, needed is {wanted}", f"pip install '{name}{wanted}'")
    return Check("software", name, OK, version)


def _same_place() -> Check:
    """PyPI has an old package called `store`, which would hide ours."""
    import store

    ours, theirs = Path(__file__).resolve().parents[1], Path(store.__file__ or "").resolve().parents[1]
    if ours == theirs:
        return Check("software", "packages", OK, f"store and mmcoa_cli both from {ours}")
    advice = f"pip uninstall store, or {REINSTALL}"
    return Check("software", "packages", FAIL, f"store comes from {theirs}, mmcoa_cli from {ours}", advice)


def _machine(home: Home) -> Iterator[Check]:
    folder = existing(home.root)
    free = shutil.disk_usage(folder).free
    status = FAIL if free < GB else WARN if free < 10 * GB else OK
    advice = "free some space, or set MMCOA_HOME to a larger disk" if status != OK else ""
    yield Check("machine", "disk", status, f"{free / GB:.1f} GB free in {folder}", advice)
    yield _memory()
    yield from _devices()


def _memory() -> Check:
    free = available()
    found = f"{free / GB:.1f} GB of {installed() / GB:.1f} GB free"
    if free < 4 * GB:
        return Check("machine", "memory", WARN, found, "close other programs, or use a smaller --batch-size")
    return Check("machine", "memory", OK, found)


def _devices() -> Iterator[Check]:
    import torch

    yield Check("machine", "cpu", OK, f"{os.cpu_count()} cores, of which torch uses {torch.get_num_threads()}")
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    if gpus:
        names = ", ".join(f"{gpu.name} ({gpu.total_memory / GB:.0f} GB)" for gpu in gpus)
        yield Check("machine", "accelerator", OK, f"cuda: {names}")
    elif torch.backends.mps.is_available():
        yield Check("machine", "accelerator", OK, "mps")
    else:
        advice = "fine for mmcoa demo and small models; ViT-B-32 on a CPU takes hours, --limit makes it less"
        yield Check("machine", "accelerator", WARN, "none, all is computed on the CPU", advice)


def _store(home: Home) -> Iterator[Check]:
    yield _writable(home.root)
    yield from _locks(home.root)
    yield from _index(home)
    yield from _verified(home)
    yield from _unfinished(home)


def _writable(root: Path) -> Check:
    folder = existing(root)
    found = str(root) if folder == root else f"{root} (not there yet)"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check("store", "folder", OK, found)
    except OSError as error:
        reason = f"{found}: cannot be written to ({error.strerror})"
        return Check("store", "folder", FAIL, reason, "set MMCOA_HOME to a folder you may write to")


def _locks(root: Path) -> Iterator[Check]:
    """Of a disk that other machines see, whether a lock that one holds is one for all."""
    disk = disk_of(root)
    if disk.shared:
        place = f"{disk.mounted} ({disk.kind})"
        yield (
            Check("store", "locks", WARN, f"on {place} they hold on one machine alone ({disk.fault})", ONE_MACHINE)
            if disk.fault
            else Check("store", "locks", OK, f"between machines, on {place}")
        )


def _index(home: Home) -> Iterator[Check]:
    """The index is opened, and so brought to the newest version, but never begun here."""
    if home.index_file is not None and not home.index_file.exists():
        yield Check("store", "index", OK, "not there yet; the first result begins it")
        return
    from store.index import Index

    try:
        index = Index(home.database_url)
        runs, (_, evaluations) = index.runs(), index.counts()
    except UserError as error:
        yield Check("store", "index", FAIL, str(error), error.hint)
        return
    yield Check("store", "index", OK, f"{counted(len(runs), 'run')}, {counted(evaluations, 'result')}")
    for run in runs:
        if run.status != "complete":
            advice = f"if it is not running now: mmcoa train --resume {run.id}"
            yield Check("store", "unfinished run", WARN, run.id, advice)


def _verified(home: Home) -> Iterator[Check]:
    """How many files were looked through since they last changed. Nothing is read here."""
    from store.verification import recall

    files = [*home.datasets.glob("[!.]*.h5"), *home.examples.glob("[!.]*.h5")]
    known = sum(recall(path) is not None for path in files)
    if files:
        found = f"{known} of {len(files)} files verified since they last changed; mmcoa store verify reads all again"
        yield Check("store", "content", OK, found)


def _unfinished(home: Home) -> Iterator[Check]:
    """Example sets whose blocks are not all there, and what a killed process left behind."""
    finished = len(list(home.examples.glob("*.h5")))
    yield Check("store", "examples", OK, f"{finished} whole example sets")
    sets = sorted(home.examples.glob("*.parts"))
    if sets:
        yield Check("store", "unfinished examples", WARN, f"{len(sets)} sets, {_size(sets)}", _to_finish(sets, home))
    remains = sorted(_inside(home, "*.partial"))
    if remains:
        advice = f"the interrupted command, typed again, goes on or cleans up; or remove {_shown(remains)}"
        yield Check("store", "remains", WARN, f"{len(remains)} of interrupted commands, {_size(remains)}", advice)


def _to_finish(sets: list[Path], home: Home) -> str:
    """What to type for example sets that are not whole, one after the other."""
    from .jobs.unfinished import command_for

    known = dict.fromkeys(command for part in sets if (command := command_for(part.stem, home)))
    again = "; then ".join([*known][:MOST_COMMANDS]) or "type the evaluate or attack command again"
    more = f" (and {len(known) - MOST_COMMANDS} more)" if len(known) > MOST_COMMANDS else ""
    return f"to finish them: {again}{more}; or remove {_shown(sets)}"


def _network(_: Home) -> Iterator[Check]:
    from huggingface_hub import constants, get_token

    offline = constants.HF_HUB_OFFLINE
    found = "HF_HUB_OFFLINE is set: fetch takes models from the disk only" if offline else "only fetch needs one"
    yield Check("network", "network", OK, f"not looked at; {found}")
    token = "there is one (not shown)" if get_token() else "none; public models need none"
    yield Check("network", "Hugging Face token", OK, token)


def _inside(home: Home, pattern: str) -> Iterable[Path]:
    return home.root.rglob(pattern) if home.root.is_dir() else ()


def _shown(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def _size(paths: list[Path]) -> str:
    return f"{sum(map(size_of, paths)) / 10**6:.1f} MB"


GROUPS = {"software": _software, "machine": _machine, "store": _store, "network": _network}
