"""Content that is verified when it is read, once a file: what was computed of a file is remembered until it changes.

The memory of `folder/file` lies in `folder/.verified`. It names the file's size, times and inode, so a copy, a file
that was replaced and one that was altered in place are computed again. The time of the last change of status (ctime) is
among them, because nobody can set it: a memory that comes along with a store from elsewhere is of no file there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from .keys import key_of

FOLDER = ".verified"
SETTLED_NS = 100_000_000  # two changes within one tick of the file system's clock (up to 10 ms) look like one

_known: dict[tuple[Path, str], dict[str, object]] = {}  # for a store that this user may only read


def remembered_digest(path: Path, *, again: bool = False) -> str:
    """SHA-256 of the file's bytes; read only where it is not remembered, or is to be read `again`."""
    with path.open("rb") as file:
        return remembered(
            path,
            "sha256",
            lambda: hashlib.file_digest(file, "sha256").hexdigest(),
            descriptor=file.fileno(),
            again=again,
        )


def verified(
    path: Path, compute: Callable[[], str], expected: str, *, descriptor: int | None = None, again: bool = False
) -> bool:
    """Whether the content of `path`, which `compute` gives a digest of, is the expected one; computed once a file."""
    if not again and recall(path, "content", descriptor=descriptor) == expected:
        return True
    return remembered(path, "content", compute, descriptor=descriptor, again=True) == expected


def remembered(
    path: Path, kind: str, compute: Callable[[], str], *, descriptor: int | None = None, again: bool = False
) -> str:
    """What `compute` returns for the file, or returned earlier. `descriptor` is the open file it is computed of."""
    found = None if again else recall(path, kind, descriptor=descriptor)
    if found is not None:
        return found
    before = _identity(path, descriptor)
    digest = compute()
    if _identity(path, descriptor) == before:
        _remember(path, kind, {"identity": before, "digest": digest, "at": time.time_ns()})
    return digest


def recall(path: Path, kind: str = "content", *, descriptor: int | None = None) -> str | None:
    """What is remembered of the file as it is now; None where nothing is, or the file was changed since."""
    now = _identity(path, descriptor)
    for entry in (_known.get((path.absolute(), kind)), _read(_place(path, kind))):
        if entry is None or entry.get("identity") != now:
            continue
        at, digest = entry.get("at"), entry.get("digest")
        # else it may have been changed again in the same tick
        if isinstance(digest, str) and isinstance(at, int) and at - max(now[1:3]) > SETTLED_NS:
            return digest
    return None


def forget(path: Path) -> None:
    """Remove what is remembered of a file, which is itself removed."""
    for known in [known for known in _known if known[0] == path.absolute()]:
        del _known[known]
    for place in (path.parent / FOLDER).glob(f"{path.name}.*.json"):
        place.unlink(missing_ok=True)


def _identity(path: Path, descriptor: int | None) -> list[int]:
    status = path.stat() if descriptor is None else os.fstat(descriptor)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _place(path: Path, kind: str) -> Path:
    return path.parent / FOLDER / f"{path.name}.{kind}.json"


def _read(place: Path) -> dict[str, object] | None:
    """An entry as it was written; None where it is missing or damaged."""
    try:
        entry, check = json.loads(place.read_text(encoding="utf8"))
        return entry if isinstance(entry, dict) and check == key_of(entry) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _remember(path: Path, kind: str, entry: dict[str, object]) -> None:
    """Write the entry in one step; any process may do so at any time. What cannot be written is computed again."""
    _known[path.absolute(), kind] = entry
    place = _place(path, kind)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(exist_ok=True)
        partial.write_text(json.dumps([entry, key_of(entry)]), encoding="utf8")
        partial.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
