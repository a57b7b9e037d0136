"""One adversarial image as few bytes, from which it comes back bit for bit, whatever its floats are.

Most pixels are k / 255 in float32, a few levels from the clean image. So an image is, pixel by pixel, the difference in
levels, in base k where k differences occur; and for the pixels that are not just k / 255, a sparse list of where they
are and of how many steps of float32 they are off. That works modulo 2^8 and 2^32: NaN, -0.0 and 10^30 are steps away
from some level too, and nothing has to be rounded to come back.
"""

from __future__ import annotations

import math
import struct
import zlib
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

WHITE = np.float32(255)
HEAD = struct.Struct("<BHIIII")  # lowest difference, how many from there, pixels off the grid, bytes of the 3 pieces
WORD = np.dtype("<u4")


def pack(image: npt.NDArray[np.float32], clean: Bytes) -> bytes:
    """`image`, float32 (3, H, W), by its clean one, uint8 (H, W, 3)."""
    with np.errstate(all="ignore"):  # NaN and what is too large have some level as well
        levels = (np.clip(image * WHITE, 0, 255) + np.float32(0.5)).astype(np.uint8)
    differences: Bytes = levels - clean.transpose(2, 0, 1)
    signed = differences.view(np.int8)
    lowest = int(signed.min())
    count = int(signed.max()) - lowest + 1
    steps: Words = (np.ascontiguousarray(image).view(np.uint32) - _bits(levels)).ravel()
    places = np.flatnonzero(steps != 0)
    pieces = (
        _smaller(_digits(differences.ravel() - np.uint8(lowest % 256), count), zlib.Z_HUFFMAN_ONLY),
        _smaller(_planes(np.diff(places, prepend=-1)), zlib.Z_RLE),
        _smaller(_planes(_unsigned(steps[places])), zlib.Z_RLE),
    )
    return HEAD.pack(lowest % 256, count, len(places), *map(len, pieces)) + b"".join(pieces)


def unpack(packed: bytes, clean: Bytes) -> npt.NDArray[np.float32]:
    """What `pack` made the bytes of. Raises ValueError for bytes that it cannot have made of an image of this size."""
    if len(packed) < HEAD.size:
        raise ValueError("an image of it is too short")
    lowest, count, off, *sizes = HEAD.unpack_from(packed)
    if not 1 <= count <= 256 or off > clean.size or HEAD.size + sum(sizes) != len(packed):
        raise ValueError("an image of it is not of this size")
    ends = HEAD.size + np.cumsum([0, *sizes])
    digits, places, steps = (packed[start:end] for start, end in pairwise(ends))
    per_byte = _per_byte(count)
    whole = _whole(digits, -(-clean.size // per_byte) if per_byte else 0)
    levels = _differences(whole, lowest, count, clean.size).reshape(3, *clean.shape[:2]) + clean.transpose(2, 0, 1)
    bits = _bits(levels)
    if off:
        gaps = _words(_whole(places, off * WORD.itemsize))
        where = np.cumsum(gaps, dtype=np.int64) - 1
        if gaps.min() < 1 or where[-1] >= clean.size:
            raise ValueError("an image of it has pixels outside")
        bits.reshape(-1)[where] += _signed(_words(_whole(steps, off * WORD.itemsize)))
    return bits.view(np.float32)


def _bits(levels: Bytes) -> Words:
    """Those of k / 255, as an attack computes it."""
    return (levels.astype(np.float32) / WHITE).view(np.uint32)


@lru_cache
def _per_byte(count: int) -> int:
    """How many digits of base `count` fit into a byte; 0 where there is but one."""
    return max(n for n in range(1, 9) if count**n <= 256) if count > 1 else 0


def _digits(values: Bytes, count: int) -> Bytes:
    """Neighbours together in a byte, the first as its last digit."""
    per_byte = _per_byte(count)
    if per_byte < 2:
        return values[: values.size * per_byte]
    rows = np.pad(values, (0, -values.size % per_byte)).reshape(-1, per_byte)
    found = rows[:, -1].copy()
    for digit in reversed(range(per_byte - 1)):
        found *= np.uint8(count)
        found += rows[:, digit]
    return found


def _differences(digits: bytes, lowest: int, count: int, size: int) -> Bytes:
    if count == 1:
        return np.full(size, lowest, np.uint8)
    return _table(lowest, count)[np.frombuffer(digits, np.uint8)].reshape(-1)[:size]


@lru_cache(maxsize=256)
def _table(lowest: int, count: int) -> Bytes:
    """The differences that each byte stands for: (256, digits in a byte)."""
    places = count ** np.arange(_per_byte(count))
    return (np.arange(256)[:, None] // places % count + lowest).astype(np.uint8)


def _planes(values: npt.NDArray[Any]) -> Bytes:
    """The lowest bytes of all values, then the next ones: those above are mostly 0."""
    return values.astype(WORD).view(np.uint8).reshape(-1, WORD.itemsize).T.ravel()


def _words(planes: bytes) -> Words:
    rows = np.frombuffer(planes, np.uint8).reshape(WORD.itemsize, -1)
    return np.ascontiguousarray(rows.T).view(WORD)[:, 0].astype(np.uint32)


def _unsigned(steps: Words) -> Words:
    """Steps up and down as small numbers: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return (steps << np.uint32(1)) ^ (np.uint32(0) - (steps >> np.uint32(31)))


def _signed(small: Words) -> Words:
    return (small >> np.uint32(1)) ^ (np.uint32(0) - (small & np.uint32(1)))


def _smaller(raw: Bytes, strategy: int) -> bytes:
    """Compressed, where that makes it smaller."""
    plain = raw.tobytes()
    work = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    packed = work.compress(plain) + work.flush() if plain else plain
    return packed if len(packed) < len(plain) else plain


def _whole(piece: bytes, size: int) -> bytes:
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


def bytes_expected(values: int, *, levels: int, off_grid: float) -> int:
    """About the most bytes of an image of so many values, each at most so many `levels` from its clean one, where a
    share of them is `off_grid`: a place, and 18 to 20 bits. Attacks leave fewer, for most values are at +-eps."""
    places = sum(-share * math.log2(share) for share in (off_grid, 1 - off_grid) if share)
    return HEAD.size + round(values * (math.log2(2 * levels + 1) + places + 19 * off_grid) / 8)
