"""One adversarial image as few bytes, from which it comes back bit for bit, whatever its floats are.

An attack leaves most pixels at the end of what it allows: `hi` levels above the clean image or `lo` below, or at white
or black where those are nearer. So an image is a plane of bits, up or down; a plane that marks the pixels between; for
each of these how many levels it is away; and for those that are no k / 255, how many steps of float32 they are off.
That works modulo 2^8 and 2^32: NaN, -0.0 and 10^30 are steps away from some level too, and nothing has to be rounded.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]

Ends = tuple[int, float, float]  # whether levels of the grid; how far the upper one and the lower one are

WHITE = np.float32(255)
FINE = np.float32(4e-6)  # by how much less than the most a pixel moved that is at its end
HEAD = struct.Struct("<BffIIIIII")  # whether on the grid, hi, lo, pixels between, those off the grid, bytes of 4 pieces
WORD = np.dtype("<u4")
MANY, SAMPLE = 8, 29  # where more than one in so many is between the ends, better ones are looked for by some pixels
OFF = np.uint8(128)  # marks what is off the grid
HIGH, WIDE = 2, 4  # a byte of a plane: neighbours are often alike


def pack(image: Floats, clean: Bytes) -> bytes:
    """`image`, float32 (3, H, W), by its clean one, uint8 (H, W, 3)."""
    before = np.ascontiguousarray(clean.transpose(2, 0, 1)).ravel()
    bits = np.ascontiguousarray(image).view(np.uint32).ravel()
    with np.errstate(all="ignore"):  # NaN and what is too large have some level as well
        ends, up, between = _ends(bits, before)
        places = np.flatnonzero(between)
        symbols, signs, steps = _between(bits[places], before[places])
    up[places] = signs
    pieces = (
        _smaller(_plane(up, clean.shape), zlib.Z_HUFFMAN_ONLY),
        _smaller(_plane(between, clean.shape), zlib.Z_RLE) if len(places) else b"",
        _smaller(symbols, zlib.Z_RLE),
        _smaller(_planes(_unsigned(steps)), zlib.Z_RLE),
    )
    return HEAD.pack(*ends, len(places), len(steps), *map(len, pieces)) + b"".join(pieces)


def unpack(packed: bytes, clean: Bytes, image: Floats) -> None:
    """Fill `image`, (3, H, W), with what `pack` made the bytes of. Raises ValueError for bytes that it cannot have made
    of an image of this size."""
    if len(packed) < HEAD.size:
        raise ValueError("an image of it is too short")
    grid, hi, lo, inner, off, *sizes = HEAD.unpack_from(packed)
    ends_there_are = grid == 0 or (grid == 1 and 0 <= hi <= 255 and 0 <= lo <= 255)
    counts = off <= inner <= clean.size and (inner > 0 or not any(sizes[1:]))
    if not ends_there_are or not counts or HEAD.size + sum(sizes) != len(packed):
        raise ValueError("an image of it is not of this size")
    cuts = HEAD.size + np.cumsum([0, *sizes])
    plane, mask, symbols, steps = (packed[start:end] for start, end in pairwise(cuts))
    before, shape = np.ascontiguousarray(clean.transpose(2, 0, 1)).ravel(), clean.shape
    up = _bits_of(whole(plane, _plane_bytes(shape)), shape)
    bits = image.reshape(-1).view(np.uint32)
    with np.errstate(all="ignore"):
        _at_ends((grid, hi, lo), before, up, image.reshape(-1))
    if inner:
        places = np.flatnonzero(_bits_of(whole(mask, _plane_bytes(shape)), shape))
        found = np.frombuffer(whole(symbols, inner), np.uint8)
        where = places[found >= OFF] if len(places) == inner else places
        if len(places) != inner or len(where) != off:
            raise ValueError("an image of it has other pixels than it says")
        bits[places] = on_grid(_moved(before[places], found & ~OFF, up[places])).view(np.uint32)
        bits[where] += signed(words(whole(steps, off * WORD.itemsize)))


def _ends(bits: Words, before: Bytes) -> tuple[Ends, Bits, Bits]:
    """What the ends are, which pixels are at the upper one, and which are at none."""
    moved = bits.view(np.float32) * WHITE
    moved -= before
    ends = (1, _levels(moved.max()), _levels(-moved.min()))
    up, between = _at(ends, bits, before)
    if np.count_nonzero(between) * MANY > len(bits):
        better = _better(ends, bits[::SAMPLE], before[::SAMPLE])
        up, between = (up, between) if better == ends else _at(better, bits, before)
        ends = better
    return ends, up, between


def _better(ends: Ends, bits: Words, before: Bytes) -> Ends:
    """Of some pixels: ends that fewer of them are between, if there are any."""
    image, clean = bits.view(np.float32), on_grid(before)
    usual = float(np.bincount(_nearest(np.abs(image * WHITE - before))).argmax())
    every = [ends, (1, usual, usual), (0, _offset(image, clean), _offset(-image, -clean))]
    return min(every, key=lambda one: np.count_nonzero(_at(one, bits, before)[1]))


def _at(ends: Ends, bits: Words, before: Bytes) -> tuple[Bits, Bits]:
    grid, hi, lo = ends
    up = bits == _upper(grid, before, hi).view(np.uint32)
    return up, ~(up | (bits == _lower(grid, before, lo).view(np.uint32)))


def _levels(most: np.float32) -> float:
    """A number of whole levels."""
    return float(np.clip(np.rint(most), 0, 255)) if np.isfinite(most) else 0.0


def _nearest(levels: Floats) -> Bytes:
    return (np.clip(levels, 0, 255) + np.float32(0.5)).astype(np.uint8)


def _offset(image: Floats, before: Floats) -> float:
    """What was added to the clean pixels of those that moved most, rounded as all of these show it: float32."""
    moved = image - before
    near = np.flatnonzero((moved > moved.max() - FINE) & (np.abs(image) < 1) & (image != 0))
    if not len(near):
        return 0.0
    exact, half = image[near].astype(np.float64) - before[near], np.spacing(np.abs(image[near])).astype(np.float64) / 2
    return float(np.float32((np.max(exact - half) + np.min(exact + half)) / 2))


def on_grid(levels: npt.NDArray[Any]) -> Floats:
    """k / 255, as an attack computes it."""
    found = levels.astype(np.float32)
    found /= WHITE
    return found


def _upper(grid: int, before: Bytes, hi: float) -> Floats:
    """The upper end of each pixel."""
    if grid:
        return on_grid(_raised(before, hi))
    found: Floats = np.minimum(on_grid(before) + np.float32(hi), np.float32(1))
    return found


def _lower(grid: int, before: Bytes, lo: float) -> Floats:
    if grid:
        return on_grid(_lowered(before, lo))
    found: Floats = np.maximum(on_grid(before) - np.float32(lo), np.float32(0))
    return found


def _raised(before: Bytes, levels: float) -> Bytes:
    return np.minimum(before, np.uint8(255 - levels)) + np.uint8(levels)


def _lowered(before: Bytes, levels: float) -> Bytes:
    return np.maximum(before, np.uint8(levels)) - np.uint8(levels)


def _at_ends(ends: Ends, before: Bytes, up: Bits, image: Floats) -> None:
    """Put each pixel at one of its ends."""
    grid, hi, lo = ends
    if grid:
        lower = _lowered(before, lo)
        lower += up * (_raised(before, hi) - lower)
        np.divide(lower, WHITE, out=image, dtype=np.float32)
    else:
        image[:] = np.where(up, _upper(0, before, hi), _lower(0, before, lo))


def _between(bits: Words, before: Bytes) -> tuple[Bytes, Bits, Words]:
    """Of pixels between the ends: how many levels they are away, marked where that is not all, and whether upwards;
    and the steps of those that are marked."""
    away = (_nearest(bits.view(np.float32) * WHITE) - before).view(np.int8)
    signs, symbols = away > 0, np.minimum(np.abs(away.astype(np.int16)), 127).astype(np.uint8)
    steps = bits - on_grid(_moved(before, symbols, signs)).view(np.uint32)
    marked = steps != 0
    return symbols | (marked * OFF), signs, steps[marked]


def _moved(before: Bytes, levels: Bytes, up: Bits) -> Bytes:
    return np.where(up, before + levels, before - levels)


def _plane_bytes(shape: tuple[int, ...]) -> int:
    return 3 * -(-shape[0] // HIGH) * -(-shape[1] // WIDE)


def _plane(bits: Bits, shape: tuple[int, ...]) -> Bytes:
    """Bits (3 * H * W) as bytes of two rows of four."""
    rows = bits.reshape(3, *shape[:2])
    if shape[0] % HIGH or shape[1] % WIDE:
        rows = np.pad(rows, ((0, 0), (0, -shape[0] % HIGH), (0, -shape[1] % WIDE)))
    fours = rows.view(np.uint32).reshape(-1, HIGH, rows.shape[2] // WIDE)
    return np.packbits(np.ascontiguousarray(fours.transpose(0, 2, 1)).view(np.uint8))


def _bits_of(plane: bytes, shape: tuple[int, ...]) -> Bits:
    width = -(-shape[1] // WIDE)
    fours = np.unpackbits(np.frombuffer(plane, np.uint8)).view(np.uint32).reshape(-1, width, HIGH)
    rows = np.ascontiguousarray(fours.transpose(0, 2, 1)).view(np.bool_).reshape(3, -1, width * WIDE)
    return np.ascontiguousarray(rows[:, : shape[0], : shape[1]]).ravel()


def _planes(values: npt.NDArray[Any]) -> Bytes:
    """The lowest bytes of all values, then the next ones: those above are mostly 0."""
    return values.astype(WORD).view(np.uint8).reshape(-1, WORD.itemsize).T.ravel()


def words(planes: bytes) -> Words:
    rows = np.frombuffer(planes, np.uint8).reshape(WORD.itemsize, -1)
    return np.ascontiguousarray(rows.T).view(WORD)[:, 0].astype(np.uint32)


def _unsigned(steps: Words) -> Words:
    """Steps up and down as small numbers: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return (steps << np.uint32(1)) ^ (np.uint32(0) - (steps >> np.uint32(31)))


def signed(small: Words) -> Words:
    return (small >> np.uint32(1)) ^ (np.uint32(0) - (small & np.uint32(1)))


def _smaller(raw: Bytes, strategy: int) -> bytes:
    """Compressed, where that makes it smaller."""
    plain = raw.tobytes()
    work = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    packed = work.compress(plain) + work.flush() if plain else plain
    return packed if len(packed) < len(plain) else plain


def whole(piece: bytes, size: int) -> bytes:
    """The `size` bytes that `_smaller` was given. Raises ValueError where they are not that many."""
    if len(piece) == size:
        return piece
    work = zlib.decompressobj()
    try:
        found = work.decompress(piece, size) if size else b""
    except zlib.error as error:
        raise ValueError(f"an image of it cannot be unpacked: {error}") from None
    if len(found) != size or not work.eof or work.unused_data:
        raise ValueError("an image of it is not of this size")
    return found
