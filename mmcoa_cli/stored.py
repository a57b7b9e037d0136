"""What lies in the store, kind by kind, and whether it is intact: all of it read again, nothing taken from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from store.errors import UserError
from store.verification import FOLDER, remembered_digest

from .settings import Home
from .terminal.console import progress
from .terminal.errors import explained

DATASET, MODEL, MLM, CHECKPOINT, EXAMPLES, INDEX = "dataset", "model", "masked LM", "checkpoint", "example set", "index"
KINDS = (DATASET, MODEL, MLM, CHECKPOINT, EXAMPLES, INDEX)
SHORTEST_KEY = 4  # characters of a key that name an example set


@dataclass(frozen=True)
class Item:
    """One thing that is stored: a file, or a folder of files. `names` are what it answers to."""

    kind: str
    name: str
    path: Path
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was looked at; `reason` says what is wrong with it, `advice` what to type: both empty where it is intact."""

    kind: str
    name: str
    bytes: int
    reason: str = ""
    advice: str = ""


def verify(home: Home, names: list[str], *, quiet: bool) -> list[Finding]:
    """Look at all of the store, or at what `names` name. Raises UserError for a name that nothing has."""
    items = [item for item in _items(home) if not names or any(_answers(item, name) for name in names)]
    for name in names:
        if not any(_answers(item, name) for item in items):
            hint = "mmcoa store verify looks at everything; a key is named by 4 characters or more"
            raise UserError(f"nothing in the store is called {name!r}", hint=hint)
    sizes = {item: size_of(item.path) for item in items}
    found = []
    with progress("verifying", total=sum(sizes.values()), unit="bytes", quiet=quiet) as task:
        for item in items:
            reason, advice = _look(item, home)
            found.append(Finding(item.kind, item.name, sizes[item], reason, advice))
            task.advance(sizes[item])
    return found


def table(found: list[Finding]) -> RenderableType:
    """A line a kind, then what is damaged, with what to do about it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for kind in KINDS:
        of_kind = [entry for entry in found if entry.kind == kind]
        damaged = [entry for entry in of_kind if entry.reason]
        if of_kind:
            size = decimal(sum(entry.bytes for entry in of_kind))
            status = Text("damaged", style="bold red") if damaged else Text("ok", style="green")
            grid.add_row(status, kind, f"{len(of_kind) - len(damaged)} of {len(of_kind)} intact", size)
        for entry in damaged:
            grid.add_row("", "", Text(f"{entry.name}: {entry.reason}\n> {entry.advice}", style="bold"))
    return grid if found else Text("the store is empty")


def verdict(found: list[Finding]) -> UserError | None:
    """The error that `mmcoa store verify` ends with, None where all is intact."""
    damaged = [entry for entry in found if entry.reason]
    if not damaged:
        return None
    shown = ", ".join(f"{entry.kind} {entry.name}" for entry in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return UserError(f"damaged: {shown}{more}", hint=damaged[0].advice)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _items(home: Home) -> Iterator[Item]:
    for path in sorted(home.datasets.glob("[!.]*.h5")):
        yield Item(DATASET, path.stem, path)
    for kind, folder in ((MODEL, home.clips), (MLM, home.mlms)):
        for path in sorted(folder.glob("[!.]*")):
            if path.is_dir():
                yield Item(kind, path.name, path)
    for path in sorted(home.checkpoints.glob("[!.]*/epoch-[0-9]*")):
        run = path.parent.name
        yield Item(CHECKPOINT, f"{run}/{path.name}", path, (run, path.name))
    for path in sorted(home.examples.glob("[!.]*.h5")):
        yield Item(EXAMPLES, path.stem, path)
    file = home.root / "index.db"
    if home.database_url.startswith("sqlite:") and file.is_file():
        yield Item(INDEX, file.name, file)


def _answers(item: Item, name: str) -> bool:
    from .names import store_name

    if item.kind == EXAMPLES:
        return len(name) >= SHORTEST_KEY and item.name.startswith(name)
    return name in (item.name, *item.names) or store_name(name) == item.name


def _look(item: Item, home: Home) -> tuple[str, str]:
    """What is wrong, and what to type."""
    try:
        reason, advice = LOOK[item.kind](item, home)
        return (reason, advice) if reason else ("", "")
    except UserError as error:
        return str(error), explained(error).hint
    except OSError as error:
        return str(error), "see whether the disk is well, and whether you may read it"


def _dataset(item: Item, _: Home) -> tuple[str, str]:
    from store.datasets import Dataset

    Dataset.open(item.path, again=True).close()
    return "", ""


def _model(item: Item, _: Home) -> tuple[str, str]:
    from .models.digests import verify as verify_model

    for file in sorted(item.path.rglob("*")):
        if file.is_file() and FOLDER not in file.parts:
            remembered_digest(file, again=True)
    verify_model(item.path, name=item.name)
    return "", ""


def _checkpoint(item: Item, _: Home) -> tuple[str, str]:
    from store.checkpoints import damage

    run = item.path.parent.name
    return damage(item.path) or "", f"remove {item.path}, then: mmcoa train --resume {run}"


def _examples(item: Item, _: Home) -> tuple[str, str]:
    from store.examples import damage

    return damage(item.path) or "", f"remove {item.path}; the command that made it makes it again"


def _index(_: Item, home: Home) -> tuple[str, str]:
    from store.index import Index

    Index(home.database_url).verify()
    return "", ""


LOOK: dict[str, Callable[[Item, Home], tuple[str, str]]] = {
    DATASET: _dataset,
    MODEL: _model,
    MLM: _model,
    CHECKPOINT: _checkpoint,
    EXAMPLES: _examples,
    INDEX: _index,
}
