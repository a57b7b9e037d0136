"""Images of example sets that were written before: in the first layout, and in the second, packed in another way."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .example_packing import WORD, Bytes, Floats, on_grid, signed, whole, words

PACKED, DELTA, FLOATS, FLOAT_ROW = "images/packed", "images/delta", "images/float32", "images/float32_row"
HEAD = struct.Struct("<BHIIII")  # lowest difference, how many from there, pixels off the grid, bytes of the 3 pieces


def of_first_layout(file: Any, start: int, stop: int, clean: Bytes) -> Floats:
    """Samples on the 1/255 grid were 8-bit differences from the clean image, all others float32."""
    images = on_grid(clean.transpose(0, 3, 1, 2).astype(np.int16) + file[DELTA][start:stop])
    for sample, row in enumerate(file[FLOAT_ROW][start:stop]):
        if row >= 0:
            images[sample] = file[FLOATS][row]
    return images


def unpack(packed: bytes, clean: Bytes, image: Floats) -> None:
    """Fill an image (3, H, W) of the second layout by its clean one (H, W, 3): the differences in levels, in base k
    where k differences occur, and a sparse list of pixels that are no k / 255. Raises ValueError for bytes of none."""
    if len(packed) < HEAD.size:
        raise ValueError("an image of it is too short")
    lowest, count, off, *sizes = HEAD.unpack_from(packed)
    if not 1 <= count <= 256 or off > clean.size or HEAD.size + sum(sizes) != len(packed):
        raise ValueError("an image of it is not of this size")
    ends = HEAD.size + np.cumsum([0, *sizes])
    digits, places, steps = (packed[start:end] for start, end in pairwise(ends))
    per_byte = _per_byte(count)
    found = whole(digits, -(-clean.size // per_byte) if per_byte else 0)
    levels = _differences(found, lowest, count, clean.size).reshape(3, *clean.shape[:2]) + clean.transpose(2, 0, 1)
    bits = on_grid(levels).view(np.uint32)
    if off:
        gaps = words(whole(places, off * WORD.itemsize))
        where = np.cumsum(gaps, dtype=np.int64) - 1
        if gaps.min() < 1 or where[-1] >= clean.size:
            raise ValueError("an image of it has pixels outside")
        bits.reshape(-1)[where] += signed(words(whole(steps, off * WORD.itemsize)))
    image[:] = bits.view(np.float32)


@lru_cache
def _per_byte(count: int) -> int:
    """How many digits of base `count` fit into a byte; 0 where there is but one."""
    return max(n for n in range(1, 9) if count**n <= 256) if count > 1 else 0


def _differences(digits: bytes, lowest: int, count: int, size: int) -> Bytes:
    if count == 1:
        return np.full(size, lowest, np.uint8)
    return _table(lowest, count)[np.frombuffer(digits, np.uint8)].reshape(-1)[:size]


@lru_cache(maxsize=256)
def _table(lowest: int, count: int) -> npt.NDArray[np.uint8]:
    """The differences that each byte stands for: (256, digits in a byte)."""
    places = count ** np.arange(_per_byte(count))
    return (np.arange(256)[:, None] // places % count + lowest).astype(np.uint8)
