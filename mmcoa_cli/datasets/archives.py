"""Folders, zip and tar archives as names and open files, and archives within them. Nothing is unpacked onto the disk
unless `unpacked` is asked to.

An archive may be hostile: links, devices, absolute paths and paths with ".." are refused, as is one that would unpack
to far more than it is (a bomb), so that reading one touches nothing but itself and nameless scratch files.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from store.errors import UserError

from ..console import Task, progress
from .decoding import MAX_IMAGE, Encoded
from .samples import SPLITS

CHUNK = 1 << 20
MAX_FILES = 3_000_000
MAX_RATIO, MAX_EXTRA = 20, 1 << 30  # an archive of n bytes may unpack to MAX_RATIO * n + MAX_EXTRA bytes
MAX_DEPTH = 3  # archives within archives
LONG = 32 << 20  # bytes whose unpacking shows its progress
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")

_COMPRESSIONS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_KINDS = "--from takes a folder, a zip, a tar or a parquet file"
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, NotImplementedError, ValueError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The regular files of a folder or archive. `sizes` maps their relative paths, in sorted order, to bytes; `root` is
    the folder, where it is one; `inner` opens a file that is an archive itself."""

    title: str
    sizes: Mapping[str, int]
    open: Callable[[str], IO[bytes]]
    root: Path | None = None
    inner: Callable[[str], AbstractContextManager[Files]] | None = None

    def read(self, path: str, *, at_most: int) -> bytes:
        """One file's content. Raises UserError when it is larger than `at_most` bytes, or damaged."""
        if self.sizes[path] > at_most:
            raise UserError(f"{path} in {self.title} is too large: {self.sizes[path]:,} bytes, at most {at_most:,}")
        with _damage_named(self.title), self.open(path) as file:
            return file.read(self.sizes[path])

    def image(self, path: str) -> Encoded:
        """One image, read when it is asked for."""
        return Encoded(path, partial(self.read, path, at_most=MAX_IMAGE))


class _Allowance:
    """How many bytes may still be inflated, over an archive and all that it holds."""

    def __init__(self, packed: int, title: str) -> None:
        self.cap = self.left = size_cap(packed)
        self._title = title

    def take(self, size: int) -> None:
        """`size` bytes are inflated. Raises UserError where that is too many."""
        self.require(size, self.left)
        self.left -= size

    def require(self, size: int, limit: int) -> None:
        """Raises UserError for more than `limit` bytes."""
        if size > limit:
            raise UserError(
                f"{self._title} would unpack to more than {self.cap / 1e9:.1f} GB, far more than a dataset; refused",
                hint="if you trust it, unpack it yourself and give --from the folder",
            )


@contextmanager
def open_files(path: Path, *, scratch: Path) -> Iterator[Files]:
    """The files of a folder, a zip, or a tar (plain, gz, bz2 or xz; a compressed one is inflated into a nameless file
    in `scratch`, which vanishes with the process); or one parquet file. Raises UserError for anything else, and for a
    hostile archive."""
    if path.is_dir():
        yield _folder_files(path, scratch)
    elif not path.is_file():
        raise UserError(f"there is no file or folder {path}", hint=_KINDS)
    elif path.suffix == ".parquet":
        yield Files(path.name, {path.name: path.stat().st_size}, lambda _: path.open("rb"))
    else:
        with path.open("rb") as file, _archive(file, path.name, path.stat().st_size, scratch, None) as files:
            yield files


@contextmanager
def expanded(files: Files, *, depth: int = MAX_DEPTH) -> Iterator[Files]:
    """`files` with the content of the archives among them in their place, where those are there instead of images."""
    inner = [path for path in files.sizes if path.lower().endswith(ARCHIVES)]
    taken = frozenset(inner)
    if not inner or depth == 0 or files.inner is None or any(is_image(path) for path in files.sizes):
        yield files
        return
    with ExitStack() as stack:
        places = {path: (files, path) for path in files.sizes if path not in taken}
        for path in inner:
            part = stack.enter_context(expanded(stack.enter_context(files.inner(path)), depth=depth - 1))
            beside, own = path.rpartition("/")[0], without_ending(path)
            apart = _names_split(own) and not any(name.split("/")[0].lower() in SPLITS for name in part.sizes)
            for name in part.sizes:  # where unpacking puts it; below the archive's own name when that place is taken
                place = f"{own if apart else beside}/{name}".lstrip("/")  # or when that name says which split it is
                places[place if place not in places else f"{own}/{name}"] = part, name
            _require_few(len(places), files.title)
        sizes = {path: part.sizes[name] for path, (part, name) in places.items()}

        def opened(path: str) -> IO[bytes]:
            part, name = places[path]
            return part.open(name)

        yield Files(files.title, _sorted_visible(sizes), opened)


@contextmanager
def unpacked(files: Files, *, scratch: Path) -> Iterator[Path]:
    """A folder that holds `files`: their own, or one in `scratch` that is removed afterwards."""
    if files.root is not None:
        yield files.root
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="unpacked-") as folder:
        with _long_work(f"unpacking {files.title}", sum(files.sizes.values())) as task:
            for path, size in files.sizes.items():
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                with _damage_named(files.title), files.open(path) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out, CHUNK)
                task.advance(size)
        yield Path(folder)


def _names_split(path: str) -> bool:
    """Whether the last part of a path has the name of a split in it, as "train-000" has."""
    return any(word in SPLITS for word in re.split(r"[\-_.]", path.rpartition("/")[2].lower()))


def is_image(path: str) -> bool:
    """Whether the file's name says that it is an image."""
    return PurePosixPath(path).suffix.lower() in IMAGES


def without_ending(path: str) -> str:
    """An archive's path without ".tar.gz" and the like."""
    return next((path[: -len(ending)] for ending in ARCHIVES if path.lower().endswith(ending)), path)


def size_cap(packed: int) -> int:
    """How many bytes an archive of `packed` bytes may unpack to."""
    return MAX_RATIO * packed + MAX_EXTRA


@contextmanager
def _damage_named(title: str) -> Iterator[None]:
    """What the libraries raise for a damaged archive, as one line."""
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{title} is damaged: {error or type(error).__name__}", hint="download it again") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the disk's trouble; a forged offset gives EINVAL
            raise
        raise UserError(f"{title} is damaged: {error}", hint="download it again") from error


def _folder_files(root: Path, scratch: Path) -> Files:
    sizes: dict[str, int] = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                sizes[path.relative_to(root).as_posix()] = path.stat().st_size
        _require_few(len(sizes), root.name)

    def opened(name: str) -> IO[bytes]:
        return (root / name).open("rb")

    return Files(root.name, _sorted_visible(sizes), opened, root, lambda name: open_files(root / name, scratch=scratch))


@contextmanager
def _archive(file: IO[bytes], title: str, packed: int, scratch: Path, allowance: _Allowance | None) -> Iterator[Files]:
    """The files of an archive of `packed` bytes; one within another shares the other's `allowance`."""
    allowance = allowance or _Allowance(packed, title)
    magic = file.read(6)
    is_zip = magic.startswith(b"PK") and zipfile.is_zipfile(file)
    file.seek(0)
    if is_zip:
        with _damage_named(title):
            archive = zipfile.ZipFile(file)
        with archive:
            yield _zip_files(archive, title, scratch, allowance)
        return
    inflate = next((opener for start, opener in _COMPRESSIONS if magic.startswith(start)), None)
    if inflate is None:
        yield _tar_files(file, title, scratch, allowance)
        return
    with tempfile.TemporaryFile(dir=scratch) as plain:
        with _long_work(f"inflating {title}", packed) as task, _damage_named(title), inflate(file) as source:
            _copy_capped(source, plain, allowance, lambda: task.reach(file.tell()))
        yield _tar_files(plain, title, scratch, allowance)


def _zip_files(archive: zipfile.ZipFile, title: str, scratch: Path, allowance: _Allowance) -> Files:
    members = {_safe(info.filename, title): info for info in archive.infolist() if not info.is_dir()}
    _require_few(len(members), title)
    for name, info in members.items():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise UserError(f"{title} holds {name}, which is a link or no file", hint="no archive needs that here")
        if info.flag_bits & 1:
            raise UserError(f"{title} is encrypted", hint="unpack it yourself and give --from the folder")
    allowance.require(sum(info.file_size for info in members.values()), allowance.cap)

    @contextmanager
    def inner(name: str) -> Iterator[Files]:
        with tempfile.TemporaryFile(dir=scratch) as copy:
            with _damage_named(title), archive.open(members[name]) as source:
                _copy_capped(source, copy, allowance)
            with _archive(copy, PurePosixPath(name).name, members[name].file_size, scratch, allowance) as files:
                yield files

    sizes = {name: info.file_size for name, info in members.items()}
    return Files(title, _sorted_visible(sizes), lambda name: archive.open(members[name]), inner=inner)


def _copy_capped(
    source: IO[bytes], target: IO[bytes], allowance: _Allowance, on_chunk: Callable[[], None] | None = None
) -> None:
    while chunk := source.read(CHUNK):
        allowance.take(len(chunk))
        target.write(chunk)
        if on_chunk is not None:
            on_chunk()
    target.seek(0)


def _long_work(title: str, size: int) -> AbstractContextManager[Task]:
    """A progress bar, for so many bytes that a person would wait."""
    return progress(title, total=size, unit="bytes", quiet=size < LONG)


def _tar_files(file: IO[bytes], title: str, scratch: Path, allowance: _Allowance) -> Files:
    offsets: dict[str, int] = {}
    sizes: dict[str, int] = {}
    with _damage_named(title):
        for info in _tar_members(file, title):
            name = _safe(info.name, title)
            if not info.isreg() or info.issparse():
                raise UserError(f"{title} holds {name}, which is a link or no file", hint="no dataset needs that")
            offsets[name], sizes[name] = info.offset_data, info.size
            _require_few(len(sizes), title)
    allowance.require(sum(sizes.values()), allowance.cap)

    def opened(name: str) -> IO[bytes]:
        return io.BufferedReader(_Window(file, offsets[name], sizes[name]))

    @contextmanager
    def inner(name: str) -> Iterator[Files]:
        inside = PurePosixPath(name).name
        with opened(name) as window, _archive(window, inside, sizes[name], scratch, allowance) as files:
            yield files

    return Files(title, _sorted_visible(sizes), opened, inner=inner)


class _Window(io.RawIOBase):
    """`size` bytes of another file, from `start` on, as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _tar_members(file: IO[bytes], title: str) -> Iterator[tarfile.TarInfo]:
    try:
        archive: Any = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    except tarfile.ReadError:
        raise UserError(f"{title} is neither a zip nor a tar", hint=_KINDS) from None
    with archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # else it keeps every header, gigabytes of them for a large dataset
            if not info.isdir():
                yield info


def _safe(name: str, title: str) -> str:
    """A member's path without "./". Raises UserError for one that leads elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts or ("..",)
    if path.is_absolute() or ".." in parts or parts[0].endswith(":") or "\0" in name:
        raise UserError(f"{title} holds the unsafe path {name!r}", hint="do not trust this archive")
    return str(path)


def _sorted_visible(sizes: Mapping[str, int]) -> dict[str, int]:
    """Without hidden files and the litter of macOS archives, in the order of their paths."""
    return {
        path: sizes[path]
        for path in sorted(sizes)
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
    }


def _require_few(count: int, title: str) -> None:
    if count > MAX_FILES:
        raise UserError(f"{title} holds more than {MAX_FILES:,} files", hint="is it the right folder or archive?")
