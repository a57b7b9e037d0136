"""The things that are stored, kind by kind, and the names they answer to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from store.verification import FOLDER as MEMORY

from ..names import store_name
from ..settings import Home

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


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder but what remembers that they were checked."""
    return sum(map(_bytes, [path] if path.is_file() else path.rglob("*")))


def _bytes(file: Path) -> int:
    """0 for a folder, and for a file that another process has removed meanwhile."""
    try:
        return file.stat().st_size if file.is_file() and file.parent.name != MEMORY else 0
    except FileNotFoundError:
        return 0


def items(home: Home) -> Iterator[Item]:
    """All that is stored, kind by kind."""
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


def answers(item: Item, name: str) -> bool:
    """Whether a thing is meant by a name."""
    if item.kind == EXAMPLES:
        return len(name) >= SHORTEST_KEY and item.name.startswith(name)
    return name in (item.name, *item.names) or store_name(name) == item.name
