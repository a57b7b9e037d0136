"""One archive of files and a document about them: a plain zip, nothing in it compressed.

An archive may be hostile. It is taken as data: its files are written, each as many bytes as it says, to a place that
the caller names; links, folders and names mean nothing. Whether a file is the right one its own seal says, which
whoever takes the archive looks at.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UserError
from .files import replacing

DOCUMENT = "manifest.json"
LARGEST = 2**26  # bytes of the document
MOST = 10**5  # files
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content makes the same archive


def write_archive(path: Path, document: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Write `document` and `files` (by their names in the archive); it is there whole, or not at all."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(DOCUMENT, LONG_AGO), json.dumps(document, indent=1))
        for name, file in files.items():
            with file.open("rb") as source, archive.open(zipfile.ZipInfo(name, LONG_AGO), "w", force_zip64=True) as out:
                shutil.copyfileobj(source, out)


@dataclass(frozen=True)
class Archive:
    """An archive, open for reading: its document, and the bytes of each of its files."""

    document: dict[str, Any]
    sizes: dict[str, int]
    _archive: zipfile.ZipFile

    def extract(self, name: str, target: Path) -> None:
        """Write a file of it to `target`. Raises BadZipFile for one that is damaged."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._archive.open(name) as source, target.open("xb") as out:
            shutil.copyfileobj(source, out)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Raises UserError, also at the end of the block, for what is no such archive, or holds anything but files."""
    with _explained(), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        sizes = {info.filename: info.file_size for info in infos}
        if len(infos) > MOST or len(sizes) < len(infos) or sizes.pop(DOCUMENT, LARGEST + 1) > LARGEST:
            raise refused("it has no list of its rows, or a very large one, or too many files, or two of one name")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or _is_link(info) for info in infos):
            raise refused("something in it is compressed, a link, or locked by a password")
        if sum(info.file_size for info in infos) > path.stat().st_size:
            raise refused("it claims more than it holds")
        if not all(map(_is_plain, sizes)):
            raise refused("its files have names that lead elsewhere")
        yield Archive(json.loads(archive.read(DOCUMENT)), sizes, archive)


def _is_plain(name: str) -> bool:
    """A path that leads down, by names without a meaning of their own."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") for part in parts)
    return bool(parts) and not hidden and "/".join(parts) == name and not set(name) & set('\\:\0"<>|?*')


def _is_link(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or (info.external_attr >> 28) not in (0, 0o10)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, NotImplementedError) as error:
        raise refused(str(error)) from error
    except (RuntimeError, RecursionError, EOFError) as error:  # a password; a document nested without end
        raise refused(str(error)) from error


def refused(reason: str) -> UserError:
    """The error that says why an archive is not taken."""
    return UserError(f"the archive cannot be taken: {reason}", hint="ask for another copy of it")
