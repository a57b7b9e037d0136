"""What every layout of a dataset is read into: images with their split and class, each seen to be whole."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from store.errors import UserError

from ..catalog import DatasetRow
from ..prompts import clean_name

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # nothing that starts another program, as EPS does
MAX_IMAGE = 64 << 20  # bytes of one image file
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
ORDER = ("train", "val", "test")
_MEND = "remove it, or replace it by a whole one"


class Sample(NamedTuple):
    """One image: pixels (S, S, 3) in 0..255 or an encoded image; its class, or -1 and its captions."""

    split: str
    image: npt.NDArray[np.uint8] | bytes
    label: int = -1
    captions: tuple[str, ...] = ()


class Labels:
    """The labels of a row's classes, by their names and by the names of their folders."""

    def __init__(self, row: DatasetRow) -> None:
        self._row = row
        self._names = {clean_name(name): label for label, name in enumerate(row.class_names)}
        self._folders = {clean_name(name): label for label, name in enumerate(row.folders)}
        self._left_out = frozenset(map(clean_name, row.not_classes))

    def find(self, *names: str) -> int | None:
        """The label of the first of `names` that is a class's folder or name."""
        cleaned = [clean_name(name) for name in names]
        known = [*(self._folders.get(name) for name in cleaned), *(self._names.get(name) for name in cleaned)]
        return next((label for label in known if label is not None), None)

    def is_left_out(self, name: str) -> bool:
        """Whether it is one of the folders that the row says are no classes."""
        return clean_name(name) in self._left_out

    def of(self, *names: str, title: str) -> int | None:
        """`find`, None for what is no class. Raises UserError for a name that the row does not know."""
        label = self.find(*names)
        if label is None and not any(map(self.is_left_out, names)):
            known = ", ".join(self._row.class_names[:5])
            raise UserError(
                f"{title}: {names[-1]!r} is no class of {self._row.name}", hint=f"its classes are {known} ..."
            )
        return label

    def of_order(self, names: list[str], *, title: str) -> list[int | None]:
        """The labels of another list of all classes: by name where names are known, else by place.

        Raises UserError for a list of another length whose names are unknown, and for one in another order.
        """
        found = [None if self.is_left_out(name) else self.find(name) for name in names]
        unknown = [n for n, label in zip(names, found, strict=True) if label is None and not self.is_left_out(n)]
        if not unknown:
            return found
        in_place = all(label in (None, place) for place, label in enumerate(found))
        if len(names) == len(self._row.class_names) and in_place:
            return list(range(len(names)))
        raise UserError(f"{title}: {unknown[0]!r} is no class of {self._row.name}", hint="is it another dataset?")


def prepared(data: bytes, path: str, row: DatasetRow) -> npt.NDArray[np.uint8] | bytes:
    """An image file as the store keeps it: pixels where the row's images have one size, else as it is encoded.

    Raises UserError for one that cannot be decoded, or is of another size.
    """
    return _pixels(data, path, row.pixel_size) if row.resize is None else _checked(data, path)


def common_size(images: Iterable[tuple[bytes, str]]) -> int | None:
    """The side of image files (and their paths) when all are squares of one size; stops at the first that differs."""
    first = None
    for data, path in images:
        with _opened(data, path) as opened:
            width, height = opened.size
        first = first or width
        if (width, height) != (first, first):
            return None
    return first


def _pixels(data: bytes, path: str, size: int) -> npt.NDArray[np.uint8]:
    with _opened(data, path) as image:
        if image.size != (size, size):
            width, height = image.size
            raise UserError(
                f"{path} is {width}x{height} pixels, this dataset's images are {size}x{size}",
                hint="fetch it under a name of its own to keep other sizes",
            )
        return np.asarray(_loaded(image, path).convert("RGB"))


def _checked(data: bytes, path: str) -> bytes:
    """`data`, once it is sure to decode (at an eighth of its size where the format can)."""
    with _opened(data, path) as image:
        image.draft("RGB", (1, 1))
        _loaded(image, path)
    return data


def _opened(data: bytes, path: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no image that can be read", hint=_MEND) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} is far too large for an image", hint="remove it") from error


def _loaded(image: Image.Image, path: str) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}", hint=_MEND) from error
    return image
