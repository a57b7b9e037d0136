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

WHITE, HALF = np.float32(255), np.float32(0.5)
FINE = np.float32(4e-6)  # by how much less than the most a pixel moved that is at its end
HEAD = struct.Struct("<BffIIIIII")  # whether on the grid, hi, lo, pixels between, those off the grid, bytes of 4 pieces
WORD, PAIR = np.dtype("<u4"), np.dtype("<u2")
MANY, SAMPLE = 8, 29  # where more than one in so many is between the ends, better ones are looked for by some pixels
OFF = np.uint8(128)  # marks what is off the grid
HIGH, WIDE = 2, 4  # a byte of a plane: neighbours are often alike


def pack(image: Floats, clean: Bytes, pixels: Pixels | None = None) -> bytes:
    """`image`, float32 (3, H, W), by its clean one, uint8 (H, W, 3); in `pixels` that were used for others before."""
    pixels, shape = pixels or Pixels(clean.size), clean.shape
    with np.errstate(all="ignore"):  # NaN and what is too large have some level as well
        pixels.load(np.ascontiguousarray(image).view(np.uint32).ravel(), clean.transpose(2, 0, 1))
        ends, up, between = _ends(pixels)
        places = np.flatnonzero(between)
        symbols, signs, steps = _between(pixels.bits[places], pixels.before[places])
    up[places] = signs
    pieces = (
        _smaller(_plane(up, shape), zlib.Z_HUFFMAN_ONLY),
        _smaller(_plane(between, shape), zlib.Z_RLE) if len(places) else b"",
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


class Pixels:
    """`n` pixels of an image, and their clean ones `before`. Each image fills the same arrays: to find memory for new
    ones can take the system longer than all the rest."""

    def __init__(self, n: int) -> None:
        self.before, self._level, self._moved, self._most = np.empty((4, n), np.uint8)
        self._exact, self._up, self._between = np.empty((3, n), np.bool_)
        self._floats = np.empty(n, np.float32)

    def load(self, bits: Words, before: Bytes) -> None:
        self.bits = bits
        np.copyto(self.before.reshape(before.shape), before)
        np.multiply(bits.view(np.float32), WHITE, out=self._floats)
        self._floats += HALF
        np.copyto(self._level, self._floats, casting="unsafe")
        np.divide(self._level, WHITE, out=self._floats, dtype=np.float32)
        np.equal(self._floats.view(np.uint32), bits, out=self._exact)

    def sample(self) -> Pixels:
        """Some of them."""
        found = Pixels(-(-len(self.bits) // SAMPLE))
        found.load(self.bits[::SAMPLE], self.before[::SAMPLE])
        return found

    def farthest(self) -> Ends:
        """How far the pixels moved at the most, in levels."""
        up, down = self._moved, self._most
        np.maximum(self._level, self.before, out=up)
        np.minimum(self._level, self.before, out=down)
        np.subtract(up, self.before, out=up)
        np.subtract(self.before, down, out=down)
        return 1, float(up.max()), float(down.max())

    def usual(self) -> Ends:
        """How far most of them moved."""
        moved = np.abs(self._level.astype(np.int16) - self.before)
        levels = float(np.bincount(moved).argmax())
        return 1, levels, levels

    def offset(self) -> Ends:
        """What was added to the clean pixels, where that is no level."""
        image, clean = self.bits.view(np.float32), on_grid(self.before)
        return 0, _offset(image, clean), _offset(-image, -clean)

    def at(self, ends: Ends) -> tuple[Bits, Bits]:
        """Which of them are at none of the ends, and of all others which are at the upper one."""
        up, between = self._up, self._between
        grid, hi, lo = ends
        if grid:
            np.equal(_raised(self.before, hi, self._moved, self._most), self._level, out=up)
            np.equal(_lowered(self.before, lo, self._moved, self._most), self._level, out=between)
            between |= up
            between &= self._exact
        else:
            np.equal(_upper(self.before, hi).view(np.uint32), self.bits, out=up)
            np.equal(_lower(self.before, lo).view(np.uint32), self.bits, out=between)
            between |= up
        return up, np.logical_not(between, out=between)


def _ends(pixels: Pixels) -> tuple[Ends, Bits, Bits]:
    """What the ends are, which pixels are at the upper one, and which are at none."""
    ends = pixels.farthest()
    up, between = pixels.at(ends)
    if np.count_nonzero(between) * MANY > len(between):
        some = pixels.sample()
        every = [ends, some.usual(), some.offset()]
        ends = min(every, key=lambda one: np.count_nonzero(some.at(one)[1]))
        up, between = pixels.at(ends)
    return ends, up, between


def _nearest(levels: Floats) -> Bytes:
    return (np.clip(levels, 0, 255) + HALF).astype(np.uint8)


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


def _upper(before: Bytes, hi: float) -> Floats:
    """The upper end of each pixel, off the grid."""
    found: Floats = np.minimum(on_grid(before) + np.float32(hi), np.float32(1))
    return found


def _lower(before: Bytes, lo: float) -> Floats:
    found: Floats = np.maximum(on_grid(before) - np.float32(lo), np.float32(0))
    return found


# NumPy takes ten times as long for a limit that is one number as for an array of it
def _raised(before: Bytes, levels: float, out: Bytes, limit: Bytes) -> Bytes:
    limit.fill(int(255 - levels))
    np.minimum(before, limit, out=out)
    out += np.uint8(levels)
    return out


def _lowered(before: Bytes, levels: float, out: Bytes, limit: Bytes) -> Bytes:
    limit.fill(int(levels))
    np.maximum(before, limit, out=out)
    out -= np.uint8(levels)
    return out


def _at_ends(ends: Ends, before: Bytes, up: Bits, image: Floats) -> None:
    """Put each pixel at one of its ends."""
    grid, hi, lo = ends
    if grid:
        upper, lower, limit = np.empty((3, len(before)), np.uint8)
        _raised(before, hi, upper, limit)
        _lowered(before, lo, lower, limit)
        upper -= lower
        upper *= up
        lower += upper
        np.divide(lower, WHITE, out=image, dtype=np.float32)
    else:
        upper_bits, lower_bits = _upper(before, hi).view(np.uint32), _lower(before, lo).view(np.uint32)
        image.view(np.uint32)[:] = lower_bits ^ (upper_bits ^ lower_bits) * up


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
    height, width = shape[:2]
    # all at once where rows are whole bytes
    eights = np.packbits(bits) if width % 8 == 0 else np.packbits(bits.reshape(-1, width), axis=1)
    rows = np.zeros((3, height + height % HIGH, -(-width // 8)), PAIR)
    rows[:, :height] = eights.reshape(3, height, -1)
    above, below = rows[:, ::2], rows[:, 1::2]
    fours = above & 0xF0 | below >> 4 | above << 12 | (below & 0x0F) << 8
    return fours.astype(PAIR).view(np.uint8)[..., : -(-width // WIDE)].ravel()


def _bits_of(plane: bytes, shape: tuple[int, ...]) -> Bits:
    height, width = shape[:2]
    fours = np.zeros((3, -(-height // HIGH), -(-width // 8)), PAIR)
    filled = fours.view(np.uint8)[..., : -(-width // WIDE)]
    filled[:] = np.frombuffer(plane, np.uint8).reshape(filled.shape)
    rows = np.empty((3, HIGH * fours.shape[1], fours.shape[2]), np.uint8)
    rows[:, ::2] = fours & 0xF0 | fours >> 12
    rows[:, 1::2] = fours << 4 & 0xF0 | fours >> 8 & 0x0F
    eights = rows[:, :height]
    bits = np.unpackbits(eights) if width % 8 == 0 else np.unpackbits(eights, axis=2, count=width)
    return bits.ravel().view(np.bool_)


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
