"""Which files are images: by their ending where that says it, else by what is in them."""

from __future__ import annotations

import warnings

from PIL import Image

from ..decoding import FORMATS
from ..files import ARCHIVES, IMAGES, Files, ending

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
