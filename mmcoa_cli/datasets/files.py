"""The files of a dataset, wherever they lie: their names, sizes and contents, which of them are images (by their ending
where that says it, else by what is in them), and what is no part of it."""

from __future__ import annotations

import errno
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from PIL import Image

from store.errors import UserError

from .decoding import FORMATS, MAX_IMAGE, Encoded

MAX_FILES = 3_000_000
IMAGES = {
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".apng", ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif",
    ".tiff", ".webp", ".avif",
}  # fmt: skip
ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
HIDDEN, EMPTY = "hidden", "an empty folder"
NO_IMAGE = "no image"
ARCHIVE = "an archive beside the images"
OTHER_KIND = "an image of a kind that is not read"
_OTHER_KINDS = {
    ".heic", ".heif", ".svg", ".jp2", ".j2k", ".jpx", ".jxl", ".tga", ".ico", ".eps", ".psd", ".xcf", ".raw", ".dng",
    ".cr2", ".cr3", ".nef", ".arw", ".orf", ".exr", ".hdr", ".dds", ".pcx", ".xbm", ".xpm", ".fits", ".dcm", ".pfm",
}  # fmt: skip
_NO_IMAGES = {
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".md",
    ".rst", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".sh", ".m", ".c", ".h", ".log", ".lock", ".db", ".sqlite",
    ".mat", ".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".h5", ".hdf5", ".safetensors", ".onnx", ".parquet",
    ".arrow", ".feather", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".cls", ".idx", ".tfrecord",
    ".rar", ".7z", ".gz", ".bz2", ".xz", ".zst", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".wav", ".mp3", ".flac",
    ".md5", ".sha256",
}  # fmt: skip
_LITTER = {"__MACOSX", ".DS_Store", ".git", ".gitattributes", ".gitignore", ".gitkeep", ".cache", ".huggingface"}
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, NotImplementedError, ValueError, OverflowError,
)  # fmt: skip

LeftOut = Mapping[str, tuple[str, ...]]  # the paths of files that are no part of a dataset, by the reason


@dataclass(frozen=True)
class Files:
    """The regular files of a folder or archive. `sizes` maps their relative paths, in sorted order, to bytes; `root` is
    the folder, where it is one; `inner` opens a file that is an archive itself; `shards` are the places of archives
    within it that hold the samples of a webdataset."""

    title: str
    sizes: Mapping[str, int]
    open: Callable[[str], IO[bytes]]
    root: Path | None = None
    inner: Callable[[str], AbstractContextManager[Files]] | None = None
    left_out: LeftOut = field(default_factory=dict)
    shards: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return sum(self.sizes.values())

    def read(self, path: str, *, at_most: int) -> bytes:
        """One file's content. Raises UserError when it is larger than `at_most` bytes, or damaged."""
        if self.sizes[path] > at_most:
            raise UserError(f"{path} in {self.title} is too large: {self.sizes[path]:,} bytes, at most {at_most:,}")
        with damage_named(self.title), self.open(path) as file:
            return file.read(self.sizes[path])

    def image(self, path: str) -> Encoded:
        """One image, read when it is asked for."""
        return Encoded(path, partial(self.read, path, at_most=MAX_IMAGE))


@contextmanager
def damage_named(title: str) -> Iterator[None]:
    """What the libraries raise for a damaged archive, as one line."""
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{title} is damaged: {error or type(error).__name__}", hint="download it again") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the disk's trouble; a forged offset gives EINVAL
            raise
        raise UserError(f"{title} is damaged: {error}", hint="download it again") from error


def ending(path: str) -> str:
    """What a file's name ends in, as ".jpg"; much faster than pathlib, of which a million paths notice."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def is_image(path: str) -> bool:
    """Whether the file's name says that it is an image."""
    return ending(path) in IMAGES


def without_ending(path: str) -> str:
    """An archive's path without ".tar.gz" and the like."""
    return next((path[: -len(ending)] for ending in ARCHIVES if path.lower().endswith(ending)), path)


def joined(*parts: LeftOut) -> dict[str, tuple[str, ...]]:
    """All of them in one, without the reasons that no file has."""
    reasons = dict.fromkeys(reason for part in parts for reason in part)
    found = {reason: tuple(path for part in parts for path in part.get(reason, ())) for reason in reasons}
    return {reason: paths for reason, paths in found.items() if paths}


def visible(sizes: Mapping[str, int], folders: Iterable[str] = ()) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """`sizes` without hidden files and the litter of other systems, in the order of their paths; and what is left out:
    hidden files that are no litter, and those of `folders` that hold no file."""
    shown, hidden = {}, []
    for path in sorted(sizes):
        parts = path.split("/")
        if not any(part.startswith(".") or part in _LITTER for part in parts):
            shown[path] = sizes[path]
        elif not any(is_litter(part) for part in parts):
            hidden.append(path)
    empty = sorted(set(folders) - _ancestors(sizes))
    return shown, joined({HIDDEN: tuple(hidden), EMPTY: tuple(f"{folder}/" for folder in empty)})


def is_litter(name: str) -> bool:
    """Whether a file or folder is not worth a word."""
    return name in _LITTER or name.startswith("._")


def _ancestors(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def require_few(count: int, title: str) -> None:
    """Raises UserError for more files than a dataset has."""
    if count > MAX_FILES:
        raise UserError(f"{title} holds more than {MAX_FILES:,} files", hint="is it the right folder or archive?")


def images_among(files: Files) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The paths of the images, and those of all other files by the reason why they are none."""
    images: list[str] = []
    others: list[str] = []
    archives: list[str] = []
    foreign: list[str] = []
    for path in files.sizes:
        own = ending(path)
        if own in IMAGES:
            images.append(path)
        elif path.lower().endswith(ARCHIVES):
            archives.append(path)
        elif own in _NO_IMAGES:
            others.append(path)
        elif _is_image_inside(files, path):
            images.append(path)
        else:
            (foreign if own in _OTHER_KINDS else others).append(path)
    return images, {NO_IMAGE: tuple(others), OTHER_KIND: tuple(foreign), ARCHIVE: tuple(archives)}


def _is_image_inside(files: Files, path: str) -> bool:
    try:
        with warnings.catch_warnings(), files.open(path) as file:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(file, formats=FORMATS).close()
    except Image.DecompressionBombError:  # named when it is read
        return True
    except Exception:  # whatever a plugin or an archive stumbles over: it is no image
        return False
    return True
