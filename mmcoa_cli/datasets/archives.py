"""Folders, zip and tar archives as names and bytes. Nothing of an archive is ever unpacked onto the disk.

An archive may be hostile: links, devices, absolute paths and paths with ".." are refused, as is one that would unpack
to far more than it is (a bomb), so that reading one touches nothing but itself and a scratch file.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from store.errors import UserError

CHUNK = 1 << 20
MAX_FILES = 3_000_000
MAX_RATIO, MAX_EXTRA = 20, 1 << 30  # an archive of n bytes may unpack to MAX_RATIO * n + MAX_EXTRA bytes

_COMPRESSIONS: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_KINDS = "--from takes a folder, a zip or a tar"
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, NotImplementedError, ValueError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The regular files of a folder or archive. `sizes` maps their relative paths, in sorted order, to bytes."""

    title: str
    sizes: Mapping[str, int]
    contents: Callable[[str], bytes]

    def read(self, path: str, *, at_most: int) -> bytes:
        """One file's content. Raises UserError when it is larger than `at_most` bytes, or damaged."""
        if self.sizes[path] > at_most:
            raise UserError(f"{path} in {self.title} is too large: {self.sizes[path]:,} bytes, at most {at_most:,}")
        with _damage_named(self.title):
            return self.contents(path)


@contextmanager
def open_files(path: Path, *, scratch: Path) -> Iterator[Files]:
    """The files of a folder, a zip, or a tar (plain, gz, bz2 or xz; a compressed one is inflated into a nameless file
    in `scratch`, which vanishes with the process). Raises UserError for anything else, and for a hostile archive."""
    if path.is_dir():
        yield _folder_files(path)
    elif not path.is_file():
        raise UserError(f"there is no file or folder {path}", hint=_KINDS)
    elif zipfile.is_zipfile(path):
        with _damage_named(path.name):
            archive = zipfile.ZipFile(path)
        with archive:
            yield _zip_files(archive, path)
    else:
        with _plain_tar(path, scratch) as file:
            yield _tar_files(file, path)


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


def _folder_files(root: Path) -> Files:
    sizes: dict[str, int] = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                sizes[path.relative_to(root).as_posix()] = path.stat().st_size
        _require_few(len(sizes), root.name)
    return Files(root.name, _sorted_visible(sizes), lambda name: (root / name).read_bytes())


def _zip_files(archive: zipfile.ZipFile, path: Path) -> Files:
    members = {_safe(info.filename, path.name): info for info in archive.infolist() if not info.is_dir()}
    _require_few(len(members), path.name)
    for name, info in members.items():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise UserError(f"{path.name} holds {name}, which is a link or no file", hint="no archive needs that here")
        if info.flag_bits & 1:
            raise UserError(f"{path.name} is encrypted", hint="unpack it yourself and give --from the folder")
    _require_small(sum(info.file_size for info in members.values()), path)

    def contents(name: str) -> bytes:
        with archive.open(members[name]) as file:
            return file.read(members[name].file_size)  # never more than was declared; the CRC is checked at the end

    return Files(path.name, _sorted_visible({name: info.file_size for name, info in members.items()}), contents)


@contextmanager
def _plain_tar(path: Path, scratch: Path) -> Iterator[IO[bytes]]:
    """The tar without its compression: compressed ones cannot be read at random."""
    with path.open("rb") as file:
        magic = file.read(6)
        inflate = next((opener for start, opener in _COMPRESSIONS if magic.startswith(start)), None)
        if inflate is None:
            file.seek(0)
            yield file
            return
    with tempfile.TemporaryFile(dir=scratch) as plain:
        with _damage_named(path.name), inflate(path) as packed:
            _copy_capped(packed, plain, path)
        plain.seek(0)
        yield plain


def _copy_capped(source: IO[bytes], target: IO[bytes], path: Path) -> None:
    written = 0
    while chunk := source.read(CHUNK):
        written += len(chunk)
        _require_small(written, path)
        target.write(chunk)


def _tar_files(file: IO[bytes], path: Path) -> Files:
    places: dict[str, tuple[int, int]] = {}
    with _damage_named(path.name):
        for info in _tar_members(file, path):
            name = _safe(info.name, path.name)
            if not info.isreg() or info.issparse():
                raise UserError(f"{path.name} holds {name}, which is a link or no file", hint="no dataset needs that")
            places[name] = info.offset_data, info.size
            _require_few(len(places), path.name)
    _require_small(sum(size for _, size in places.values()), path)

    def contents(name: str) -> bytes:
        offset, size = places[name]
        file.seek(offset)
        return file.read(size)

    return Files(path.name, _sorted_visible({name: size for name, (_, size) in places.items()}), contents)


def _tar_members(file: IO[bytes], path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        archive: Any = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    except tarfile.ReadError:
        raise UserError(f"{path.name} is neither a zip nor a tar", hint=_KINDS) from None
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


def _require_small(size: int, path: Path) -> None:
    cap = size_cap(path.stat().st_size)
    if size > cap:
        raise UserError(
            f"{path.name} would unpack to more than {cap / 1e9:.1f} GB, far more than a dataset does; refused",
            hint="if you trust it, unpack it yourself and give --from the folder",
        )
