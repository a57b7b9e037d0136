"""Image files to 8-bit RGB: what every kind of image becomes, and which are refused, in one line each."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets import decoding, jpegs
from mmcoa_cli.datasets.decoding import Encoded, common_size, decoded, prepared
from store.errors import UserError

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 65536, (8, 8, 3), dtype=np.uint16)
ROUNDED = np.rint(WIDE * (255 / 65535)).astype(np.uint8)
GREY = WIDE[..., 0]
GREY_RGB = np.repeat(ROUNDED[..., :1], 3, axis=2)
COLOURS = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
OWN = DatasetRow("own", pixel_size=8, oriented=True)
CATALOG = DatasetRow("catalog", pixel_size=8)
TURNS: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, bits: int = 8, colour: int = 2, rows: bytes = bytes(99), more: bytes = b""
) -> bytes:
    """A PNG of raw `rows`, each after its filter's byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def wide_png(pixels: Any, colour: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], bits=16, colour=colour, rows=rows)


def tiff(values: Any, *, bits: int, photometric: int = 1, kind: int = 1, order: str = "<", samples: int = 1) -> bytes:
    """An uncompressed TIFF of one strip; `kind` 1 is unsigned, 2 signed, 3 floating point."""
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    width, height = values.shape[1], values.shape[0]
    at = 8 + 2 + 10 * 12 + 4
    depth = (258, 3, samples, bits) if samples == 1 else (258, 3, samples, at)
    extra = b"" if samples == 1 else struct.pack(f"{order}3H", bits, bits, bits)
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), depth, (259, 3, 1, 1), (262, 3, 1, photometric),
        (273, 4, 1, at + len(extra)), (277, 3, 1, samples), (278, 4, 1, height), (279, 4, 1, len(data)),
        (339, 3, 1, kind),
    ]  # fmt: skip
    ifd = struct.pack(f"{order}H", len(tags))
    for tag, size, count, value in tags:
        short = size == 3 and count == 1
        ifd += struct.pack(f"{order}HHI", tag, size, count)
        ifd += struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}I", 8) + ifd + struct.pack(f"{order}I", 0) + extra + data


def grey_of(values: Any) -> Any:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


PICTURES: dict[str, tuple[bytes, Any, tuple[str, ...]]] = {
    "8-bit PNG": (saved(Image.fromarray(COLOURS), "PNG"), COLOURS, ()),
    "16-bit grey PNG": (saved(Image.fromarray(GREY), "PNG"), GREY_RGB, (decoding.SCALED,)),
    "16-bit grey TIFF": (saved(Image.fromarray(GREY), "TIFF"), GREY_RGB, (decoding.SCALED,)),
    "16-bit grey TIFF, big-endian": (tiff(GREY, bits=16, order=">"), GREY_RGB, (decoding.SCALED,)),
    "16-bit grey TIFF, white is 0": (tiff(65535 - GREY, bits=16, photometric=0), GREY_RGB, (decoding.SCALED,)),
    "16-bit PGM": (b"P5 8 8 65535\n" + GREY.astype(">u2").tobytes(), GREY_RGB, (decoding.SCALED,)),
    "16-bit colour PNG": (wide_png(WIDE, 2), ROUNDED, (decoding.SCALED,)),
    "16-bit colour TIFF": (tiff(WIDE, bits=16, photometric=2, samples=3), ROUNDED, (decoding.SCALED,)),
    "16-bit colour TIFF, big-endian": (
        tiff(WIDE, bits=16, photometric=2, samples=3, order=">"), ROUNDED, (decoding.SCALED,),
    ),
    "16-bit colour PNG with alpha": (
        wide_png(np.concatenate([WIDE, np.full((8, 8, 1), 9000, np.uint16)], 2), 6), ROUNDED,
        (decoding.SCALED, decoding.OPAQUE),
    ),
    "1 bit": (saved(Image.fromarray(COLOURS[..., 0] > 127), "PNG"), grey_of((COLOURS[..., 0] > 127) * 255), ()),
    "4-bit grey": (
        png(8, 8, bits=4, colour=0, rows=b"\0\x01\x23\x45\x67" * 8), grey_of(np.tile(np.arange(8) * 17, (8, 1))), (),
    ),
    "transparent": (
        saved(Image.fromarray(np.dstack([COLOURS, np.full((8, 8), 9, np.uint8)])), "PNG"), COLOURS, (decoding.OPAQUE,),
    ),
    "wholly opaque": (saved(Image.fromarray(np.dstack([COLOURS, np.full((8, 8), 255, np.uint8)])), "PNG"), COLOURS, ()),
    "several frames": (
        saved(Image.fromarray(COLOURS), "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), 7)]), COLOURS,
        (decoding.FIRST,),
    ),
    "several pages": (
        saved(Image.fromarray(COLOURS), "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8), 7)]), COLOURS,
        (decoding.FIRST,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
def test_what_an_image_becomes(kind: str) -> None:
    """The same pixels, whether they are decoded when they are fetched or when they are attacked."""
    data, expected, changes = PICTURES[kind]
    found = prepared(Encoded(kind, lambda: data), OWN)
    np.testing.assert_array_equal(found.image, expected)
    np.testing.assert_array_equal(decoded(data, kind, oriented=True), expected)
    assert found.changes == changes
    as_encoded = prepared(Encoded(kind, lambda: data), DatasetRow("own", resize=256, oriented=True))
    assert as_encoded == (data, changes)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "WEBP", "GIF", "AVIF"])
def test_several_frames_or_a_lossy_format(kind: str) -> None:
    frames = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]} if kind != "JPEG" else {}
    data = saved(Image.new("RGB", (8, 8), (9, 9, 9)), kind, **frames)
    found = prepared(Encoded("x", lambda: data), OWN)
    assert np.abs(np.asarray(found.image).astype(int) - 9).max() <= 2
    assert found.changes == ((decoding.FIRST,) if frames else ())


def test_cmyk_is_converted_and_said() -> None:
    data = saved(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG")
    found = prepared(Encoded("x", lambda: data), OWN)
    assert found.changes == (decoding.FROM_CMYK,)
    assert np.asarray(found.image).max() <= 2


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_orientation_is_applied_to_ones_own_sets_alone(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[decoding._ORIENTATION] = orientation
    image = Image.fromarray(np.kron(COLOURS[:2, :2], np.ones((16, 16, 1), np.uint8)))
    data = saved(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))  # as torchvision's loader reads it
    row = DatasetRow("x", pixel_size=32)
    own = prepared(Encoded("x", lambda: data), DatasetRow("x", pixel_size=32, oriented=True))
    catalog = prepared(Encoded("x", lambda: data), row)
    np.testing.assert_array_equal(own.image, TURNS[orientation](stored))
    np.testing.assert_array_equal(catalog.image, stored)
    assert own.changes == ((decoding.TURNED,) if orientation > 1 else ())
    assert catalog.changes == ((decoding.NOT_TURNED,) if orientation > 1 else ())


def test_a_turned_tiff_is_turned_once() -> None:
    data = saved(Image.fromarray(COLOURS), "TIFF", tiffinfo={274: 6})
    for oriented in (True, False):  # Pillow turns it itself, also for torchvision
        np.testing.assert_array_equal(decoded(data, "x", oriented=oriented), TURNS[6](COLOURS))


def test_exif_that_is_garbage_turns_nothing() -> None:
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(50), b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(256))):
        data = saved(Image.fromarray(COLOURS), "PNG", exif=exif)
        np.testing.assert_array_equal(decoded(data, "x", oriented=True), COLOURS)


WHOLE = saved(Image.fromarray(COLOURS), "PNG")
JPEG = saved(Image.fromarray(COLOURS), "JPEG", quality=100)
FLOATS = GREY.astype(np.float32) / 65535
SCANS = saved(Image.new("L", (64, 64), 9), "JPEG", progressive=True)
LAST_SCAN = SCANS[SCANS.rindex(b"\xff\xda") : -2]
GIF = saved(Image.new("P", (8, 8)), "GIF")
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing in it": (b"", "is empty"),
    "one byte": (b"\xff", "no image that can be read"),
    "text": (b"hello", "no image that can be read"),
    "a web page": (b"<html>404</html>", "no image that can be read"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image that can be read"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image that can be read"),
    "Radiance": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n" + bytes(4), "no image that can be read"),
    "a header alone": (JPEG[:20], "no image that can be read"),
    "cut JPEG": (JPEG[:-100], "damaged"),
    "cut PNG": (WHOLE[:-60], "damaged"),
    "PNG with a flipped bit": (WHOLE[:80] + bytes([WHOLE[80] ^ 1]) + WHOLE[81:], "damaged"),
    "no pixels": (png(0, 0), "no image that can be read"),
    "more pixels than memory": (png(50_000, 50_000), "far too large"),
    "a billion pixels": (b"P6 99999999 99999999 255\n", "far too large"),
    "a strip": (saved(Image.new("RGB", (1, 100_000)), "PNG"), "1x100000 pixels, far too large or too long"),
    "a huge screen": (b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + GIF[13:], "far too large"),
    "32-bit floats": (tiff(FLOATS, bits=32, kind=3), "floating-point values whose range is not stated"),
    "64-bit floats": (tiff(FLOATS.astype(np.float64), bits=64, kind=3), "no image that can be read"),
    "PFM": (b"Pf\n8 8\n-1.0\n" + FLOATS.tobytes(), "floating-point values whose range is not stated"),
    "32-bit integers": (tiff(GREY.astype(np.uint32), bits=32), "32-bit or signed values"),
    "signed integers": (tiff(GREY.astype(np.int16), bits=16, kind=2), "32-bit or signed values"),
    "Lab": (saved(Image.fromarray(COLOURS).convert("LAB"), "TIFF"), "Lab colours"),
    "text of 100 MB": (png(8, 8, more=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100 << 20), 9))), "too large"),
    "profile of 100 MB": (png(8, 8, more=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100 << 20), 9))), "too large"),
    "countless chunks": (png(8, 8, more=chunk(b"prVt", b"") * 200_000), "too many parts"),
    "countless comments": (JPEG[:2] + b"\xff\xfe\0\2" * 200_000 + JPEG[2:], "too many parts"),
    "millions of fill bytes": (JPEG[:2] + b"\xff" * 1_000_000 + JPEG[2:], "too many parts"),
    "thousands of scans": (SCANS[:-2] + LAST_SCAN * 3000 + SCANS[-2:], "more than 500 scans"),
    "endless number": (b"P3 8 8 255\n" + b"0" * (10 << 20), "damaged"),
    "another size": (saved(Image.new("RGB", (9, 8)), "PNG"), "is 9x8 pixels, this dataset's images are 8x8"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_in_one_line_and_soon(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, line = REFUSED[kind]
    started = time.process_time()
    with pytest.raises(UserError, match=line) as caught:
        prepared(Encoded("x", lambda: data), OWN)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert time.process_time() - started < 20
    assert capfd.readouterr().err == ""


def test_a_million_frames_are_not_gone_through() -> None:
    frames = GIF[:-1] + GIF[GIF.index(b"\x2c") : -1] * 1_000_000 + GIF[-1:]
    assert prepared(Encoded("x", lambda: frames), OWN).changes == (decoding.FIRST,)


def test_the_common_size_of_images() -> None:
    def size(*images: bytes) -> int | None:
        return common_size(Encoded("x", lambda image=image: image) for image in images)  # type: ignore[misc]

    def square(side: int) -> bytes:
        return saved(Image.new("L", (side, side)), "PNG")

    assert size(square(9), b"broken", square(9)) == 9
    assert size(square(9), square(8)) is None
    assert size(saved(Image.new("L", (9, 8)), "PNG")) is None
    assert size(square(2000), square(2000)) is None


EXIF = Image.Exif()
EXIF[decoding._ORIENTATION] = 6
JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "with EXIF": {"exif": EXIF},
    "with a comment and a profile": {"comment": b"\xff\xc0" * 9, "icc_profile": bytes(range(256)) * 300},
    "with restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", JPEGS)
def test_the_size_of_a_jpeg_is_that_which_pillow_finds(kind: str) -> None:
    options = dict(JPEGS[kind])
    mode = options.pop("mode", "RGB")
    images = [saved(Image.new(mode, (side, side)), "JPEG", **options) for side in (33, 33)]
    other = saved(Image.new(mode, (33, 34)), "JPEG", **options)

    def size(*images: bytes) -> int | None:
        return common_size(Encoded("x", lambda image=image: image) for image in images)  # type: ignore[misc]

    assert size(*images) == Image.open(io.BytesIO(images[0])).width == 33
    assert size(images[0], other) is None
    for cut in range(2, images[0].index(b"\xff\xda"), 7):  # what ends before it says its size counts for nothing
        assert size(images[0][:cut], images[1]) == 33


def given(data: bytes, row: DatasetRow) -> object:
    """What comes of an image, or what it is refused with."""
    try:
        found = prepared(Encoded("x", lambda: data), row)
        whole = decoded(data, "x", oriented=row.oriented)
    except UserError as error:
        return str(error), error.hint
    return np.asarray(found.image).tobytes(), found.changes, whole.size, whole.tobytes()


def broken(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with bytes altered, left out, or put in: half of the time before its pixels."""
    changed, places = bytearray(data), rng.integers(2, rng.choice([data.index(b"\xff\xda") + 9, len(data)]), 3)
    for place, way in zip(sorted(places, reverse=True), rng.integers(4, size=3), strict=True):
        if way == 0:
            changed[place] = rng.integers(256)
        elif way == 1:
            del changed[place : place + rng.integers(9)]
        elif way == 2:
            changed[place:place] = rng.choice(ODD)
    return bytes(changed)


ODD = [b"\xff\xda", b"\xff\xd9", b"\xff", b"\xff\xe1\0\4ab", b"\xff\xe0\0\6JFIF", b"\xff\xe2\0\x0eICC_PROFILE\0"]


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("row", [DatasetRow("own", pixel_size=16, oriented=True), DatasetRow("own", resize=8)])
def test_a_jpeg_is_what_pillow_makes_of_it(kind: str, row: DatasetRow, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, options = np.random.default_rng(sum(kind.encode())), dict(JPEGS[kind])
    pixels = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).convert(options.pop("mode", "RGB"))
    image = saved(pixels, "JPEG", **options)
    images = [image, image[:-1], *(broken(image, rng) for _ in range(100))]
    assert (jpegs.plain(image) is not None) == (kind not in ("progressive", "CMYK", "with EXIF"))
    found = [given(data, row) for data in images]
    monkeypatch.setattr(jpegs, "plain", lambda _: None)
    assert found == [given(data, row) for data in images]


@pytest.mark.parametrize("size", [(3, 90), (16, 5), (17, 7)])
def test_a_narrow_jpeg_is_read_to_its_end(size: tuple[int, int]) -> None:
    image = saved(Image.fromarray(RNG.integers(256, size=(*size, 3), dtype=np.uint8)), "JPEG")
    assert prepared(Encoded("x", lambda: image), DatasetRow("own", resize=8)).image == image
    with pytest.raises(UserError, match="damaged: image file is truncated"):
        prepared(Encoded("x", lambda: image[:-9]), DatasetRow("own", resize=8))
