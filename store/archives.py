"""One archive of files and a document about them: a plain zip, nothing in it compressed, each file's hash recorded.

An archive may be hostile. It is taken as data: only files that the document lists are read, each as many bytes as it
says, to a place that the caller names; links, folders and names mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UserError
from .files import replacing
from .keys import digest_file

DOCUMENT, FILES = "manifest.json", "files"
LARGEST = 2**26  # bytes of the document
MOST = 10**5  # files
PIECE = 2**20
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content makes the same archive


def write_archive(path: Path, document: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Write `document` and `files` (by their names in the archive); it is there whole, or not at all."""
    listed = {name: {"sha256": digest_file(file), "bytes": file.stat().st_size} for name, file in files.items()}
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(DOCUMENT, LONG_AGO), json.dumps({**document, FILES: listed}, indent=1))
        for name, file in files.items():
            with file.open("rb") as source, archive.open(zipfile.ZipInfo(name, LONG_AGO), "w", force_zip64=True) as out:
                for piece in _pieces(source.read):
                    out.write(piece)


class Archive:
    """An archive, open for reading. `sizes` are the bytes of each file."""

    def __init__(self, archive: zipfile.ZipFile, document: dict[str, Any], listed: dict[str, Any]) -> None:
        self._archive, self.document = archive, document
        self._hashes = {name: str(one["sha256"]) for name, one in listed.items()}
        self.sizes = {name: int(one["bytes"]) for name, one in listed.items()}

    def text(self, name: str, *, most: int = LARGEST) -> str:
        """A file as text. Raises UserError for one that is not what was recorded, or large."""
        if self.sizes.get(name, most + 1) > most:
            raise _refused(f"it has no {name}, or a very large one")
        return b"".join(self._content(name)).decode("utf8", "strict")

    def extract(self, name: str, target: Path) -> None:
        """Write a file of it to `target`. Raises UserError for one that is not what was recorded."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for piece in self._content(name):
                out.write(piece)

    def _content(self, name: str) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), self.sizes[name]
        with _explained(), self._archive.open(name) as source:
            for piece in _pieces(source.read):
                left -= len(piece)
                digest.update(piece)
                if left < 0:
                    break
                yield piece
        if left or digest.hexdigest() != self._hashes[name]:
            raise _refused(f"{name} is not what was packed")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Raises UserError for what is no such archive, or holds anything but files that it lists, as large as it says."""
    with _explained(), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        if len(infos) > MOST or len(set(names)) < len(names) or DOCUMENT not in names:
            raise _refused("it has no list of its files, or too many files, or two of one name")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or _is_link(info) for info in infos):
            raise _refused("something in it is compressed, a link, or locked by a password")
        if sum(info.file_size for info in infos) > path.stat().st_size:
            raise _refused("it claims more than it holds")
        if archive.getinfo(DOCUMENT).file_size > LARGEST:
            raise _refused("its list of files is very large")
        document = json.loads(archive.read(DOCUMENT))
        listed = document.pop(FILES)
        sizes = {info.filename: info.file_size for info in infos if info.filename != DOCUMENT}
        if {name: one["bytes"] for name, one in listed.items()} != sizes or not all(map(_is_plain, sizes)):
            raise _refused("its files are not those that it lists")
        yield Archive(archive, document, listed)


def _is_plain(name: str) -> bool:
    """A path that leads down, by names without a meaning of their own."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") for part in parts)
    return bool(parts) and not hidden and "/".join(parts) == name and not set(name) & set('\\:\0"<>|?*')


def _is_link(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or (info.external_attr >> 28) not in (0, 0o10)


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(PIECE):
        yield piece


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, NotImplementedError) as error:
        raise _refused(str(error)) from error
    except (RuntimeError, RecursionError, EOFError) as error:  # a password; a document nested without end
        raise _refused(str(error)) from error


def _refused(reason: str) -> UserError:
    return UserError(f"the archive cannot be taken: {reason}", hint="ask for another copy of it")
