"""The captions of a split's images: their text in one compressed array, where each of them ends, and whose it is.

Files of the first version have a table of strings instead, as many for each image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5 import new_array
from .printable import is_printable

CAPTIONS, TEXT, ENDS, IMAGE = "captions", "text", "ends", "image"
ROWS = 2**16  # bytes of a chunk of text

Ints = npt.NDArray[np.int64]


def write_captions(group: Any, captions: Sequence[Sequence[str]]) -> None:
    """Write the captions of each image of a split, in its order."""
    own = group.create_group(CAPTIONS)
    encoded = [line.encode() for lines in captions for line in lines]
    text = np.frombuffer(b"".join(encoded), np.uint8)
    own.create_dataset(
        TEXT, data=text, maxshape=(None,), chunks=(min(ROWS, max(1, len(text))),), compression=1, fletcher32=True
    )
    new_array(own, ENDS, np.cumsum([len(line) for line in encoded], dtype=np.int64))
    new_array(own, IMAGE, np.repeat(np.arange(len(captions)), [len(lines) for lines in captions]))


def require_captions(group: Any, n: int, most: int) -> None:
    """Raises ValueError where a split of `n` images, each with up to `most` captions, does not hold any."""
    found = group[CAPTIONS]
    if isinstance(found, h5py.Dataset):
        right = found.shape == (n, most) and h5py.check_string_dtype(found.dtype) is not None
    else:
        kinds = {name: (found[name].dtype, found[name].ndim) for name in (TEXT, ENDS, IMAGE)}
        numbers = (np.dtype(np.int64), 1)
        right = kinds == {TEXT: (np.dtype(np.uint8), 1), ENDS: numbers, IMAGE: numbers}
    if not right:
        raise ValueError("it has not the captions it says")


def read_captions(group: Any, n: int) -> Iterator[list[str]]:
    """The captions of each of the `n` images of a split. Raises ValueError for what was never written so."""
    found = group[CAPTIONS]
    if isinstance(found, h5py.Dataset):
        yield from _first_version(found)
        return
    text, ends, image = found[TEXT][:].tobytes(), found[ENDS][:], found[IMAGE][:]
    _require_whole(ends, image, n, len(text))
    first = np.searchsorted(image, np.arange(n + 1)).tolist()
    starts = [0, *ends.tolist()]
    for row in range(n):
        yield [_line(text[starts[i] : starts[i + 1]]) for i in range(first[row], first[row + 1])]


def _require_whole(ends: Ints, image: Ints, n: int, size: int) -> None:
    """Every byte belongs to one caption, and every image has one."""
    lengths, steps = np.diff(ends, prepend=0), np.diff(image, prepend=-1)
    whole = len(ends) == len(image) and (lengths >= 0).all() and (steps >= 0).all() and (steps <= 1).all()
    if not whole or (int(ends[-1]), int(image[-1]) + 1) != (size, n) if len(ends) else (size, n) != (0, 0):
        raise ValueError("its captions are not those of its images")


def _line(text: bytes) -> str:
    line = text.decode()
    if not is_printable(line):
        raise ValueError(f"a caption does not print: {line[:40]!r}")
    return line


def _first_version(array: Any) -> Iterator[list[str]]:
    left = array.file.id.get_filesize()
    for row in range(len(array)):
        lines = [str(line) for line in array.asstr()[row]]
        left -= sum(map(len, lines))
        if left < 0:  # many rows may refer to the same bytes
            raise ValueError("its rows claim more than the file holds")
        yield lines
