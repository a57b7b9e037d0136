"""Folders, zip and tar archives as names and open files. Nothing is unpacked onto the disk, unless by `unpacked`.

An archive may be hostile: links, devices, absolute paths and paths with ".." are refused, as is one that would unpack
to far more than it is (a bomb), so that reading one touches nothing but itself and nameless scratch files.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from store.errors import UserError

from ...terminal.console import Task, progress
from ..files import Files, damage_named, require_few, visible
from .folder_walk import folder_files

CHUNK = 1 << 20
MAX_RATIO, MAX_EXTRA = 20, 1 << 30  # an archive of n bytes may unpack to MAX_RATIO * n + MAX_EXTRA bytes
LONG = 32 << 20  # bytes whose unpacking shows its progress
SMALL = 1 << 20  # bytes of a member that is read whole: the libraries take long to open one, and most are small images
_LOCAL = struct.Struct("<4s22xHH")  # what stands before a zip's member: a signature, and the bytes of two texts
UTF8 = 0x800  # a flag: the member's name is in it, else in code page 437

_COMPRESSIONS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_KINDS = "--from takes a folder, a zip, a tar or a parquet file"


class _Allowance:
    """How many bytes may still be inflated, over an archive and all that it holds."""

    def __init__(self, packed: int, title: str) -> None:
        self.cap = self.left = MAX_RATIO * packed + MAX_EXTRA
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
        yield folder_files(path, lambda inner: open_files(inner, scratch=scratch))
    elif not path.is_file():
        trouble = f"{path} is neither a file nor a folder" if path.exists() else f"there is no file or folder {path}"
        raise UserError(trouble, hint=_KINDS)
    elif path.suffix.lower() == ".parquet":
        yield Files(path.name, {path.name: path.stat().st_size}, lambda _: path.open("rb"))
    else:
        with path.open("rb") as file, _archive(file, path.name, path.stat().st_size, scratch, None) as files:
            yield files


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
                with damage_named(files.title), files.open(path) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out, CHUNK)
                task.advance(size)
        yield Path(folder)


@contextmanager
def _archive(file: IO[bytes], title: str, packed: int, scratch: Path, allowance: _Allowance | None) -> Iterator[Files]:
    """The files of an archive of `packed` bytes; one within another shares the other's `allowance`."""
    allowance = allowance or _Allowance(packed, title)
    magic = file.read(6)
    is_zip = magic.startswith(b"PK") and zipfile.is_zipfile(file)
    file.seek(0)
    if is_zip:
        with damage_named(title):
            archive = zipfile.ZipFile(file)
        with archive:
            yield _zip_files(archive, title, scratch, allowance)
        return
    inflate = next((opener for start, opener in _COMPRESSIONS if magic.startswith(start)), None)
    if inflate is None:
        yield _tar_files(file, title, scratch, allowance)
        return
    with tempfile.TemporaryFile(dir=scratch) as plain:
        with _long_work(f"inflating {title}", packed) as task, damage_named(title), inflate(file) as source:
            _copy_capped(source, plain, allowance, lambda: task.reach(file.tell()))
        yield _tar_files(plain, title, scratch, allowance)


def _zip_files(archive: zipfile.ZipFile, title: str, scratch: Path, allowance: _Allowance) -> Files:
    members: dict[str, zipfile.ZipInfo] = {}
    folders = [_safe(info.filename, title) for info in archive.infolist() if info.is_dir()]
    for info in archive.infolist():
        if not info.is_dir():
            members[_new(_safe(info.filename, title), members, title)] = info
    require_few(len(members), title)
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
            with damage_named(title), archive.open(members[name]) as source:
                _copy_capped(source, copy, allowance)
            with _archive(copy, PurePosixPath(name).name, members[name].file_size, scratch, allowance) as files:
                yield files

    def open_member(name: str) -> IO[bytes]:
        content = _content(archive, members[name])
        return archive.open(members[name]) if content is None else io.BytesIO(content)

    sizes, left_out = visible({name: info.file_size for name, info in members.items()}, folders)
    return Files(title, sizes, open_member, inner=inner, left_out=left_out)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    """A small member's content, if nothing about it is odd; None where `zipfile` is to read it, or to say what is."""
    if max(info.file_size, info.compress_size) > SMALL or archive.fp is None:
        return None
    archive.fp.seek(info.header_offset)
    head = archive.fp.read(_LOCAL.size).ljust(_LOCAL.size)
    signature, name, extra = _LOCAL.unpack(head)
    rest = archive.fp.read(name + extra + info.compress_size)
    content = rest[name + extra :]
    if info.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, info.file_size + 1)
    elif info.compress_type != zipfile.ZIP_STORED:
        return None
    plain = info.flag_bits & UTF8 or info.orig_filename.isascii()  # ASCII is the same in both, and utf8 quicker
    own_name = info.orig_filename.encode("utf8" if plain else "cp437", errors="replace")
    right = signature == b"PK\3\4" and rest[:name] == own_name and len(content) == info.file_size
    return content if right and zlib.crc32(content) == info.CRC else None


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
    members: dict[str, tuple[int, int]] = {}  # where each begins, and its size: a TarInfo is much larger
    folders: set[str] = set()
    with damage_named(title):
        archive = _tar(file, title)
        for info in _members(archive, file, title):
            if info.isdir():
                folders.update({str(PurePosixPath(info.name))} - {"."})
                continue
            name = _safe(info.name, title)
            if not info.isreg() or info.issparse():
                raise UserError(f"{title} holds {name}, which is a link or no file", hint="no dataset needs that")
            members[_new(name, members, title)] = info.offset_data, info.size
            require_few(len(members) + len(folders), title)
    sizes = {name: size for name, (_, size) in members.items()}
    allowance.require(sum(sizes.values()), allowance.cap)

    def open_member(name: str) -> IO[bytes]:
        """The member at its place: `tarfile` would look through all before it."""
        member = tarfile.TarInfo(name)
        member.offset_data, member.size = members[name]
        if member.size <= SMALL:
            file.seek(member.offset_data)
            if len(content := file.read(member.size)) == member.size:
                return io.BytesIO(content)
        opened: IO[bytes] = archive.extractfile(member)
        return opened

    @contextmanager
    def inner(name: str) -> Iterator[Files]:
        inside = PurePosixPath(name).name
        with open_member(name) as window, _archive(window, inside, sizes[name], scratch, allowance) as files:
            yield files

    shown, left_out = visible(sizes, folders)
    return Files(title, shown, open_member, inner=inner, left_out=left_out)


def _tar(file: IO[bytes], title: str) -> Any:
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.ReadError:
        raise UserError(f"{title} is neither a zip nor a tar", hint=_KINDS) from None


def _members(archive: Any, file: IO[bytes], title: str) -> Iterator[tarfile.TarInfo]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # else it keeps every header, gigabytes of them for a large dataset
        yield info
    file.seek(archive.offset)
    if file.read(CHUNK).strip(b"\0"):
        raise UserError(f"{title} goes on after its end: are these two archives in one?", hint="unpack it yourself")


def _safe(name: str, title: str) -> str:
    """A member's path without "./". Raises UserError for one that leads elsewhere."""
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]  # pathlib takes ten times as long
    if not parts or path.startswith("/") or ".." in parts or parts[0].endswith(":") or "\0" in name:
        raise UserError(f"{title} holds the unsafe path {name!r}", hint="do not trust this archive")
    return "/".join(parts)


def _new(name: str, known: Container[str], title: str) -> str:
    """`name`. Raises UserError where the archive has it already: which of the two is meant, nobody can say."""
    if name in known:
        raise UserError(f"{title} holds {name} twice", hint="unpack it, and see which of the two is meant")
    return name
