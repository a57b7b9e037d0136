"""Files that are whole or not there, and one writer at a time, by locks; and whether these hold between the
machines that see a disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:  # it imports asyncio, which what only reads has no use for
    from filelock import BaseFileLock

GONE = ".gone"  # ends the name of what is being removed
# `flock`, which the locks are: what of the mount says that it holds on one machine alone, or not at all
ALONE = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("local_lock=flock", "local_lock=all"),
    "lustre": ("localflock", "noflock"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
}
NONE = {"fuse.sshfs", "9p", "afs"}  # which pass no flock on to the server
SHARED = {*ALONE, *NONE, "gpfs", "beegfs", "ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs", "wekafs"}


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, that takes its place when the block ends without error.

    A kill at any moment leaves a file as it was before, and a folder either as it was or (within one rename of another)
    moved aside; the next writer puts it back and removes the remains. Two writers of one path need `lock`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(partial)
    try:
        yield partial
        _flush(partial)
        _take_place(partial, path, old)
    except BaseException:
        _remove(partial)
        raise


@contextmanager
def lock(
    path: Path, *, what: str, on_wait: Callable[[], None] | None = None, poll_seconds: float = 0.05
) -> Iterator[None]:
    """Hold `path`.lock: one process at a time, released by the system when its holder dies.

    Whoever holds it may take it again. When another process holds it, `on_wait` is called once, or a
    warning says that it is waited for `what`.
    """
    import logging

    from filelock import FileLock, Timeout

    file_lock = FileLock(path.with_name(f"{path.name}.lock"), is_singleton=True)  # a singleton can be taken again
    try:
        _acquire(file_lock, path.parent, timeout=0)
    except Timeout:
        if on_wait is None:
            logging.getLogger(__name__).warning("waiting for another process that writes %s", what)
        else:
            on_wait()
        _acquire(file_lock, path.parent, timeout=-1, poll_seconds=poll_seconds)
    try:
        yield
    finally:
        file_lock.release()


def _acquire(file_lock: BaseFileLock, folder: Path, *, timeout: float, poll_seconds: float = 0.05) -> None:
    """Take `file_lock`, a file in `folder`, which is made. Raises Timeout as the lock does."""
    for attempt in range(10):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file_lock.acquire(timeout=timeout, poll_interval=poll_seconds)
            return
        except FileNotFoundError:  # whoever held it removed the folder, as the one does who finishes a set of examples
            if attempt == 9:
                raise


@contextmanager
def lock_or_refuse(path: Path, *, what: str) -> Iterator[None]:
    """Hold `path`.lock. Raises UserError where another process does."""
    from filelock import FileLock, Timeout

    file_lock = FileLock(path.with_name(f"{path.name}.lock"), is_singleton=True)
    if path.parent.is_dir():  # else there is nothing that anybody uses
        try:
            file_lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{what} is used by another process", hint="wait until that has ended") from None
    try:
        yield
    finally:
        file_lock.release()


def is_held(path: Path) -> bool:
    """Whether another process holds `path`.lock now."""
    if not path.with_name(f"{path.name}.lock").exists():
        return False
    try:
        with lock_or_refuse(path, what=path.name):
            return False
    except UserError:
        return True


def discard(path: Path) -> None:
    """Remove a file or a folder, so that a kill leaves it as it was, or under a name that nothing is read by."""
    gone = path.with_name(f".{path.name.removeprefix('.')}{GONE}")
    _remove(gone)
    if path.exists():
        path.rename(gone)
    _remove(gone)


def read_text(path: Path, *, most: int = 10**8) -> str:
    """A file of text that a person wrote, UTF-8 with or without a mark. Raises OSError where it is none (a device
    never ends) or has more than `most` bytes, UnicodeDecodeError (a ValueError) where it is not text."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    if status.st_size > most:
        raise OSError(errno.EINVAL, f"it has more than {most:,} bytes", str(path))
    return path.read_text(encoding="utf-8-sig")


def _flush(path: Path) -> None:
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _take_place(partial: Path, path: Path, old: Path) -> None:
    """A file replaces a file in one step; a folder is moved away first, because a system replaces only empty ones."""
    if not path.is_dir():
        partial.replace(path)
        return
    _remove(old)
    path.rename(old)
    partial.rename(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Disk:
    """The disk of a folder: where it is mounted, of what kind it is, whether other machines see it, and what keeps its
    locks from holding between them (empty where nothing does)."""

    mounted: str
    kind: str
    shared: bool
    fault: str


def disk_of(folder: Path) -> Disk:
    """The disk that a folder lies on, or will lie on."""
    import psutil  # type: ignore[import-untyped]

    place = existing(folder).resolve()
    over = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    if not over:
        return Disk("/", "", shared=False, fault="")
    part = max(over, key=lambda part: len(part.mountpoint))
    return judged(part.mountpoint, part.fstype, part.opts)


def judged(mounted: str, kind: str, options: str) -> Disk:
    """The disk that is mounted so."""
    given = options.split(",")
    fault = next((option for option in ALONE.get(kind, ()) if option in given), "")
    if kind == "lustre" and "flock" not in given and not fault:
        fault = "without flock"
    if kind in NONE:
        fault = "which has no locks between machines"
    return Disk(mounted, kind, kind in SHARED, fault)
