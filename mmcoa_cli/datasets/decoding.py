"""Image files to pixels. The one place where a dataset's images are decoded and refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, features

from store.errors import UserError

from ..catalog import DatasetRow

FORMATS = (  # nothing that starts another program, as EPS does
    "JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP",
    *(["AVIF"] if "avif" in features.get_supported_modules() else []),
)  # fmt: skip
MAX_IMAGE = 64 << 20  # bytes of one image file
_MEND = "remove it, or replace it by a whole one"


@dataclass(frozen=True)
class Encoded:
    """An image file: its `path` for messages; `read` gives its bytes, or raises UserError."""

    path: str
    read: Callable[[], bytes]


def prepared(image: Encoded, row: DatasetRow) -> npt.NDArray[np.uint8] | bytes:
    """An image file as the store keeps it: pixels where the row's images have one size, else as it is encoded.

    Raises UserError for one that cannot be decoded, or is of another size.
    """
    data, path = image.read(), image.path
    return _pixels(data, path, row.pixel_size) if row.resize is None else _checked(data, path)


def common_size(images: Iterable[Encoded]) -> int | None:
    """The side of images when all that can be opened are squares of one size; stops at the first that differs."""
    first = None
    for image in images:
        try:
            with _opened(image.read(), image.path) as opened:
                width, height = opened.size
        except UserError:  # named, with all others, when the images are read
            continue
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
