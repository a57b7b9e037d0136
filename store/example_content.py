"""What an example set's file holds: images that come back bit for bit, columns, texts, and the checksum of it all.

The checksum is one of checksums: of each array those of its blocks, one after another. So blocks that become one file
are read once, and nothing of that file is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from . import earlier_images
from .example_packing import Pixels, pack, unpack
from .hdf5 import new_array
from .keys import canonical_json

Array = npt.NDArray[Any]
LAYOUT = 3  # of the images, and of the checksum; a set of the first says none
BATCH, AT_ONCE = 64, 2**20  # rows hashed at a time, or bytes, where a row has few
CHUNK = 2**18  # bytes of packed images
PACKED, ENDS = "images/bytes", "images/ends"  # one image after another, and where each ends
TEXTS, ARRAYS = "texts/", "arrays/"


def packed_images(clean: npt.NDArray[np.uint8], adversarial: Array) -> dict[str, Array]:
    """Images (b, 3, H, W) as the arrays that a file has of them: packed by their clean ones (b, H, W, 3)."""
    if adversarial.dtype != np.float32 or clean.dtype != np.uint8:
        raise ValueError(f"images are uint8 and float32, not {clean.dtype} and {adversarial.dtype}")
    if adversarial.shape != clean.transpose(0, 3, 1, 2).shape:
        raise ValueError("the images are not of the size of their clean ones")
    pixels = Pixels(math.prod(clean.shape[1:]))
    packed = [pack(image, own, pixels) for image, own in zip(adversarial, clean, strict=True)]
    ends = np.cumsum([len(image) for image in packed], dtype=np.int64)
    return {PACKED: np.frombuffer(b"".join(packed), np.uint8), ENDS: ends}


def write_block(file: Any, *arrays: Mapping[str, Array]) -> str:
    """Write the arrays of a block. Returns its checksum."""
    written: dict[str, Array] = {}
    for some in arrays:
        for name, values in some.items():
            _new_array(file, name, values)
            written[name] = values
    return _root((name, written[name], [_leaf(written[name])]) for name in sorted(written))


def read_images(file: Any, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Images start..stop of a finished set, by their clean ones. Raises ValueError for what is none."""
    if earlier_images.DELTA in file:
        return earlier_images.of_first_layout(file, start, stop, clean)
    name, unpacked = (PACKED, unpack) if PACKED in file else (earlier_images.PACKED, earlier_images.unpack)
    first = max(start, 1) - 1
    ends = [0] * (start == 0) + file[ENDS][first:stop].tolist()
    packed = file[name][ends[0] : ends[-1]].tobytes()
    if len(ends) - 1 != len(clean) or len(packed) != ends[-1] - ends[0] or ends != sorted(ends):
        raise ValueError("its images are not as many bytes as it says")
    places = [place - ends[0] for place in ends]
    images = np.empty((len(clean), 3, *clean.shape[1:3]), np.float32)
    for image, own, (place, end) in zip(images, clean, pairwise(places), strict=True):
        unpacked(packed[place:end], own, image)
    return images


def _new_array(file: Any, name: str, values: Array) -> Any:
    return new_array(file, name, values, rows=min(CHUNK, max(1, len(values))) if name == PACKED else 0)


@dataclass
class Joining:
    """Puts blocks into one file of `n` samples, one behind another. `leaves` are the checksums of its blocks, by
    array."""

    file: Any
    n: int
    leaves: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, part: Any, start: int) -> str:
        """Put a block's rows behind those that are there. Returns the checksum of the block."""
        names = _arrays(part)
        if start and names != sorted(self.leaves):
            raise ValueError("its columns are not those of the blocks before it")
        before = len(self.file[PACKED]) if PACKED in self.file else 0
        read = {name: part[name][:] for name in names}
        own = {name: _leaf(values) for name, values in read.items()}
        for name, values in read.items():
            rows = values + before if name == ENDS else values
            self.leaves.setdefault(name, []).append(_leaf(rows) if name == ENDS else own[name])
            if name == PACKED:
                self._append_packed(rows)
            else:
                self._column(name, rows)[start : start + len(rows)] = rows
        return _root((name, read[name], [own[name]]) for name in names)

    def checksum(self, *said: str) -> str:
        """That of the file, with what it says, and what was written into it beside the blocks."""
        arrays = ((name, self.file[name]) for name in _arrays(self.file))
        return _root(((name, array, self.leaves.get(name) or [_leaf(array[:])]) for name, array in arrays), *said)

    def _column(self, name: str, rows: Array) -> Any:
        if name in self.file:
            return self.file[name]
        return new_array(self.file, name, np.zeros((self.n, *rows.shape[1:]), rows.dtype))

    def _append_packed(self, values: npt.NDArray[np.uint8]) -> None:
        if PACKED not in self.file:
            _new_array(self.file, PACKED, values)
            return
        packed = self.file[PACKED]
        before = len(packed)
        packed.resize(before + len(values), axis=0)
        packed[before:] = values


def checksum(file: Any, *said: str, block_size: int) -> str:
    """SHA-256 over what the file says (its specification, its notes), and every array: name, shape, dtype, content, of
    which each block has its own."""
    arrays = ((name, file[name]) for name in _arrays(file))
    return _root(((name, array, list(_leaves(file, name, array, block_size))) for name, array in arrays), *said)


def _leaves(file: Any, name: str, array: Any, block_size: int) -> Iterator[bytes]:
    """The checksums of an array's blocks; of one that has not a row a sample, that of its whole."""
    size = max(1, len(array)) if name.startswith((TEXTS, ARRAYS)) else block_size
    together = AT_ONCE // max(1, size * _row(array))
    if name == PACKED:
        ends = [0, *file[ENDS][size - 1 :: size].tolist()]
        yield from (_leaf_of(array, *block) for block in pairwise(dict.fromkeys([*ends, len(array)])))
    elif together < 1:
        yield from (_leaf_of(array, start, min(start + size, len(array))) for start in range(0, len(array), size))
    else:  # small ones are read several at a time
        for start in range(0, len(array), size * together):
            rows = array[start : start + size * together]
            yield from (_leaf(rows[first : first + size]) for first in range(0, len(rows), size))


def _leaf(rows: Array) -> bytes:
    return hashlib.sha256(rows.tobytes()).digest()


def _leaf_of(array: Any, start: int, end: int) -> bytes:
    """The same of rows that are read a few at a time."""
    digest, rows = hashlib.sha256(), max(1, AT_ONCE // max(1, _row(array)))
    for first in range(start, end, rows):
        digest.update(array[first : min(first + rows, end)].tobytes())
    return digest.digest()


def _root(arrays: Iterator[tuple[str, Any, Sequence[bytes]]], *said: str) -> str:
    digest = hashlib.sha256("".join(said).encode())
    for name, array, leaves in arrays:
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(b"".join(leaves))
    return digest.hexdigest()


def _row(array: Any) -> int:
    return int(array.dtype.itemsize * math.prod(array.shape[1:]))


def earlier_checksum(file: Any, *said: str) -> str:
    """The same of a set that was written before: each array's content as one."""
    digest = hashlib.sha256("".join(said).encode())
    for name in _arrays(file):
        array = file[name]
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        if h5py.check_string_dtype(array.dtype):  # as the first version wrote texts
            digest.update(canonical_json(_lines(array)).encode())
            continue
        rows = max(BATCH, AT_ONCE // max(1, _row(array)))
        for start in range(0, len(array), rows):
            digest.update(array[start : start + rows].tobytes())
    return digest.hexdigest()


def _lines(array: Any) -> list[str]:
    """Raises ValueError where the lines claim more than the file holds: many may refer to the same bytes."""
    lines, left = [], array.file.id.get_filesize()
    for row in range(len(array)):
        lines.append(str(array.asstr()[row]))
        left -= len(lines[-1])
        if left < 0:
            raise ValueError("its texts claim more than the file holds")
    return lines


def _arrays(file: Any) -> list[str]:
    """The names of all arrays of a file, sorted."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(names)
