"""Image files to 8-bit RGB pixels: the one place where a dataset's images are decoded, and refused.

What torchvision's loader does (`Image.open(file).convert("RGB")`) holds for every picture of 8 bits. Pillow would clip
16 bits to white and floats to black: 16 bits are scaled here, floats refused. EXIF orientation is applied where the
dataset says so.
"""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from store.errors import UserError

from ..catalog import DatasetRow
from . import jpegs

_alone = threading.Lock()
Pixels = npt.NDArray[np.uint8]

# nothing that starts another program, as EPS does; `Image.init` imports five times as many
for _plugin in ("Jpeg", "Png", "Bmp", "Gif", "Ppm", "Tiff", "WebP", "Avif"):
    with suppress(ImportError):  # AVIF is newer
        import_module(f"PIL.{_plugin}ImagePlugin")
FORMATS = tuple(f for f in ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF") if f in Image.OPEN)
MAX_IMAGE = 64 << 20  # bytes of one image file
MAX_PIXELS = 89_478_485  # of one image; from here on Pillow warns of a bomb
LARGE = 2**24  # pixels of an image that is decoded while no other large one is: it takes hundreds of megabytes
MAX_NATIVE = 1024  # pixels a side of images that are kept at their own size
MAX_SCANS = 500  # of a JPEG: each goes over all pixels anew
MAX_READS = 300_000  # of one file by Pillow, which reads a header part by part
MAX_RATIO = 100  # of the sides: once the shorter is resized, the longer one must fit into memory

TURNED = "turned as their EXIF orientation says"
NOT_TURNED = "left as they are stored, whatever their EXIF orientation (as torchvision reads them)"
SCALED = "scaled from 16 to 8 bits"
OPAQUE = "taken without their transparency"
FIRST = "taken as the first of several frames or pages"
FROM_CMYK = "converted from CMYK"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262  # TIFF tags, of which EXIF has the first too
_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
MEND = "replace it by a whole one"
# Pillow speaks of odd metadata on stderr; of bombs it is to stop
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Encoded:
    """An image file: its `path` for messages; `read` gives its bytes, or raises UserError."""

    path: str
    read: Callable[[], bytes]


class _Reader(io.BytesIO):
    """The bytes of a file, for a limited number of reads: a header of millions of parts ends as an error."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise ValueError("its header has too many parts")
        return super().read(size)


class Large(Exception):
    """An image has more pixels than are wanted here."""


class Prepared(NamedTuple):
    """An image as the store keeps it, and what was or will be done to it on the way to its pixels."""

    image: Pixels | bytes
    changes: tuple[str, ...]


def prepared(image: Encoded, row: DatasetRow, *, at_most: int = MAX_PIXELS) -> Prepared:
    """An image file as the store keeps it: pixels where the row's images have one size, else as it is encoded.

    Raises UserError for one that cannot be decoded, or is of another size; Large for one of more than `at_most` pixels.
    """
    data, path = image.read(), image.path
    if (plain := _plain(data, at_most=at_most, row=row)) is not None:
        return Prepared(data if row.resize is not None else pixels_of(_in_rgb(plain).tobytes(), row), ())
    _verify(data, path)
    with _opened(data, path) as opened:
        if opened.width * opened.height > at_most:
            raise Large
        if row.resize is not None:
            before = _foreseen(opened, path, oriented=row.oriented)
            opened.draft("RGB", (1, 1))  # at an eighth of its size, where the format can
            _load(opened, path)
            return Prepared(data, before + _seen(opened))
        if opened.size != (row.pixel_size, row.pixel_size):
            width, height = opened.size
            raise UserError(
                f"{path} is {width}x{height} pixels, this dataset's images are {row.pixel_size}x{row.pixel_size}",
                hint="fetch it under a name of its own to keep other sizes",
            )
        rgb, changes = _converted(opened, data, path, oriented=row.oriented)
    return Prepared(np.asarray(rgb), changes)


def decoded(data: bytes, path: str, *, oriented: bool) -> Image.Image:
    """An image file as 8-bit RGB, turned as its EXIF says where it is to be `oriented`. Raises UserError."""
    if (plain := _plain(data, at_most=LARGE)) is not None:
        return _in_rgb(plain)
    with _opened(data, path) as image, _alone if image.width * image.height > LARGE else nullcontext():
        return _converted(image, data, path, oriented=oriented)[0]


def pixels_of(values: bytes, row: DatasetRow) -> Pixels:
    """The pixels of an image of the one size that the row's images have."""
    return np.frombuffer(values, np.uint8).reshape(row.pixel_size, row.pixel_size, 3)


def common_size(images: Iterable[Encoded]) -> int | None:
    """The side of images when all that can be opened are squares of one size, of at most `MAX_NATIVE` pixels; stops at
    the first that differs."""
    first = None
    for image in images:
        try:
            data = image.read()
            width, height = jpegs.size_of(data) or _opened(data, image.path).size
        except UserError:  # named, with all others, when the images are read
            continue
        first = first or width
        if (width, height) != (first, first) or first > MAX_NATIVE:
            return None
    return first


def _plain(data: bytes, *, at_most: int, row: DatasetRow | None = None) -> Image.Image | None:
    """A JPEG to whose pixels nothing is done, of at most so many; small, where the `row` has the file stored. None for
    one that Pillow is to look at, with the same result, or that is to be refused."""
    header, small = jpegs.plain(data), row is not None and row.resize is not None
    if header is None or _is_too_large(header.width, header.height, at_most):
        return None
    if row is not None and not small and (header.width, header.height) != (row.pixel_size, row.pixel_size):
        return None
    try:
        return jpegs.decoded(data, header, small=small)
    except (ValueError, OSError, MemoryError):  # Pillow says what is wrong
        return None


def _in_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_too_large(width: int, height: int, at_most: int) -> bool:
    return width * height > at_most or max(width, height) > MAX_RATIO * min(width, height)


def _opened(data: bytes, path: str) -> Image.Image:
    """The image, its header read. Raises UserError for what is none, and for what would fill memory or time."""
    if not data:
        raise UserError(f"{path} is empty", hint=MEND)
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise UserError(f"{path} is a JPEG of more than {MAX_SCANS} scans", hint="save it anew")
    try:
        # of a JPEG Pillow reads no byte twice, and its header in dozens of parts
        few = len(data) < MAX_READS and data.startswith(b"\xff\xd8")
        image = Image.open(io.BytesIO(data) if few else _Reader(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} is far too large for an image", hint="scale it down") from error
    except Exception as error:  # whatever odd bytes lead Pillow's plugins to
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({_line(error)})"
        raise UserError(f"{path} is no image that can be read{reason}", hint=MEND) from error
    width, height = image.size
    most = MAX_PIXELS // 4 if _is_wide(image) else MAX_PIXELS
    if _is_too_large(width, height, most):
        image.close()
        what = f"{path} is {width}x{height} pixels, far too large or too long"
        raise UserError(what, hint="crop it or scale it down")
    return image


def _converted(image: Image.Image, data: bytes, path: str, *, oriented: bool) -> tuple[Image.Image, tuple[str, ...]]:
    wide, white = _is_wide(image), _white(image, path)  # before a PNG is loaded, which reading its EXIF does
    before = _foreseen(image, path, oriented=oriented)
    turn = _TURNS[_orientation(image)] if TURNED in before and image.format != "TIFF" else None  # Pillow turns a TIFF
    _load(image, path)
    if white > 255:
        inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
        grey = np.asarray(image)
        rgb = Image.fromarray(_to_8_bits(white)[white - grey if inverted else grey]).convert("RGB")
    elif wide and image.mode in ("RGB", "RGBA"):
        rgb = _wide_colours(image, data, path)
    else:
        rgb = image.convert("RGB")
    changes = before + _seen(image)
    image.close()  # a large one is not to be held thrice
    return rgb if turn is None else rgb.transpose(turn), changes


def _foreseen(image: Image.Image, path: str, *, oriented: bool) -> tuple[str, ...]:
    """What will be changed, as far as the header tells. Raises UserError for values without a stated range."""
    oriented = oriented or image.format == "TIFF"
    found = {SCALED: _white(image, path) > 255 or _is_wide(image), FROM_CMYK: image.mode == "CMYK"}
    found[TURNED if oriented else NOT_TURNED] = _orientation(image) in _TURNS
    return tuple(change for change, so in found.items() if so)


def _seen(image: Image.Image) -> tuple[str, ...]:
    """What is changed, as far as the pixels tell."""
    found = {OPAQUE: _is_transparent(image), FIRST: _has_frames(image)}
    return tuple(change for change, so in found.items() if so)


def _verify(data: bytes, path: str) -> None:
    """Raises UserError for a PNG whose checksums are wrong, which loading does not look at."""
    if data.startswith(b"\x89PNG"):
        with _opened(data, path) as image, _damage_named(path):
            image.verify()


def _load(image: Image.Image, path: str) -> None:
    with _damage_named(path):
        image.load()


@contextmanager
def _damage_named(path: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory", hint="scale it down") from error
    except Exception as error:  # whatever odd bytes lead Pillow's plugins to
        raise UserError(f"{path} is damaged: {_line(error)}", hint=MEND) from error


def _white(image: Image.Image, path: str) -> int:
    """The value of white: 255, or more where grey values have more bits. Raises UserError where nothing states it."""
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        return int(2 ** tags.get(_BITS, (16,))[0] - 1)
    if image.mode == "I" and image.format in ("PPM", "PNG"):
        return 65535
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise UserError(f"{path} has {kind} values whose range is not stated", hint="convert it to 8 or 16 bits")
    if image.mode == "LAB":
        raise UserError(f"{path} has Lab colours", hint="convert it to RGB")
    return 255


def _to_8_bits(white: int) -> Pixels:
    """The 8-bit value of each value in 0..white."""
    values: Pixels = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    return values


def _is_wide(image: Image.Image) -> bool:
    """Whether the file has 16 bits a colour; Pillow gives the upper 8 of them."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and not image.mode.startswith("I")


def _wide_colours(upper: Image.Image, data: bytes, path: str) -> Image.Image:
    """16-bit colours, rounded to 8: Pillow, told of the other order of bytes, gives the lower 8 bits too."""
    with _opened(data, path) as opened:
        lower: Any = opened
        lower.tile = [(*tile[:3], _other_bytes(tile[3])) for tile in lower.tile]
        _load(lower, path)
        values = np.asarray(upper.convert("RGB")).astype(np.uint16) << 8 | np.asarray(lower.convert("RGB"))
    return Image.fromarray(_to_8_bits(65535)[values])


def _other_bytes(args: Any) -> Any:
    raw = args if isinstance(args, str) else args[0]
    colours, _, order = raw.partition(";")
    other = f"{colours};{_OTHER_ORDER.get(order, order)}"
    return other if isinstance(args, str) else (other, *args[1:])


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none, or none that can be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever odd bytes lead Pillow's EXIF to; where a PNG's pixels are damaged, loading says so
        return 1


def _is_transparent(image: Image.Image) -> bool:
    """Whether some pixel is not opaque."""
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        lowest, _ = image.getchannel("A" if image.mode[-1] == "A" else "a").getextrema()
        return lowest < 255  # type: ignore[operator]
    return "transparency" in image.info


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a second frame that is damaged is one
        return True


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
