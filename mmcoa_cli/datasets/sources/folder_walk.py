"""The files of a folder. Links are followed, and nothing is counted twice through one: a link back up would multiply
all images, one to a folder beside it would count them in two splits or classes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from store.errors import UserError

from ..files import EMPTY, HIDDEN, Files, is_litter, require_few

READ_ALREADY = "a link to what is read already"
NO_FILE = "no regular file"
BROKEN = "a broken link"
_HUB_CACHE = {"blobs", "refs", "snapshots"}  # what the hub's cache keeps a repository in; `snapshots` links to `blobs`

Place = tuple[int, int]  # device and inode
Look = tuple[int, int]  # bytes, and nanoseconds of the last change


def folder_files(root: Path, inner: Callable[[Path], AbstractContextManager[Files]]) -> Files:
    """The files of `root` and below; `inner` opens one that is an archive. Raises UserError for a folder that cannot be
    read."""
    walk = _Walk(root)
    walk.run()

    def opened(name: str) -> IO[bytes]:
        return open(f"{root}/{name}", "rb")  # noqa: PTH123 - a path takes as long to make as a file to open

    left_out = {reason: tuple(sorted(paths)) for reason, paths in sorted(walk.left_out.items())}
    sizes = {path: size for path, (size, _) in sorted(walk.found.items())}
    return Files(root.name, sizes, opened, root, lambda name: inner(root / name), left_out)


def files_below(root: Path) -> list[tuple[str, Look]]:
    """The paths of `folder_files`, in sorted order, with their bytes and when they were changed."""
    walk = _Walk(root)
    walk.run()
    return sorted(walk.found.items())


@dataclass
class _Walk:
    """First the folder's own folders, then, one after the other, what links in them lead to."""

    root: Path
    found: dict[str, Look] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    visited: set[Place] = field(default_factory=set)
    links: deque[os.DirEntry[str]] = field(default_factory=deque)

    def run(self) -> None:
        """Visit every folder once, and take each file or say why it is left out."""
        self._visit(str(self.root))
        above = {_place(str(folder)) for folder in self.root.resolve().parents}
        to_files = []
        while self.links:
            link = self.links.popleft()
            if not os.path.isdir(link.path):  # noqa: PTH112 - False also where it may not be looked at
                to_files.append(link)
            elif (place := _place(link.path)) in self.visited or place in above:
                self._leave(READ_ALREADY, f"{link.path}/")
            else:
                self._visit(link.path)
        for link in to_files:  # their own folders are all known now
            if not os.path.exists(link.path):  # noqa: PTH110
                self._leave(BROKEN, link.path)
            elif _place(os.path.dirname(os.path.realpath(link.path))) in self.visited:  # noqa: PTH120
                self._leave(READ_ALREADY, link.path)
            else:
                self._take(link)

    def _visit(self, folder: str) -> None:
        pending = [folder]
        while pending:
            folder = pending.pop()
            self.visited.add(_place(folder))
            entries = self._shown(folder)
            if not entries and folder != str(self.root):
                self._leave(EMPTY, f"{folder}/")
            for entry in entries:
                if entry.is_symlink():
                    self.links.append(entry)
                elif not entry.is_dir():
                    self._take(entry)
                elif _place(entry.path) not in self.visited:  # a link led into the middle of a folder before
                    pending.append(entry.path)
                else:
                    self._leave(READ_ALREADY, f"{entry.path}/")

    def _shown(self, folder: str) -> list[os.DirEntry[str]]:
        """What lies in `folder` and is not hidden."""
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"cannot read the folder {folder}: {error.strerror}", hint="see its permissions") from error
        cached = {entry.name for entry in entries} >= _HUB_CACHE
        shown = []
        for entry in entries:
            if entry.name.startswith(".") or is_litter(entry.name):
                if not is_litter(entry.name):
                    self._leave(HIDDEN, entry.path)
            elif not (cached and entry.name in _HUB_CACHE - {"snapshots"}):
                shown.append(entry)
        return shown

    def _take(self, entry: os.DirEntry[str]) -> None:
        if entry.is_file():
            status = entry.stat()
            self.found[self._relative(entry.path)] = status.st_size, status.st_mtime_ns
            require_few(len(self.found), self.root.name)
        else:
            self._leave(NO_FILE, entry.path)

    def _leave(self, reason: str, path: str) -> None:
        self.left_out.setdefault(reason, []).append(self._relative(path))

    def _relative(self, path: str) -> str:
        return path[len(str(self.root)) :].lstrip("/")


def _place(folder: str) -> Place:
    stat = os.stat(folder)  # noqa: PTH116
    return stat.st_dev, stat.st_ino
