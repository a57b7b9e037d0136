"""What an example set's file holds: images that come back bit for bit, columns, texts, and the checksum of it all."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .example_packing import WHITE, pack, unpack
from .hdf5 import new_array
from .keys import canonical_json

Array = npt.NDArray[Any]
LAYOUT = 2  # of the images; a set of the first says none
BATCH, AT_ONCE = 64, 2**20  # rows hashed at a time, or bytes, where a row has few
CHUNK = 2**18  # bytes of packed images
PACKED, ENDS = "images/packed", "images/ends"  # one image after another, and where each ends
DELTA, FLOATS, FLOAT_ROW = "images/delta", "images/float32", "images/float32_row"  # as the first layout had them
TEXTS, ARRAYS = "texts/", "arrays/"


def write_images(file: Any, clean: npt.NDArray[np.uint8], adversarial: Array) -> None:
    """Images (b, 3, H, W), packed by their clean ones (b, H, W, 3)."""
    if adversarial.dtype != np.float32 or clean.dtype != np.uint8:
        raise ValueError(f"images are uint8 and float32, not {clean.dtype} and {adversarial.dtype}")
    if adversarial.shape != clean.transpose(0, 3, 1, 2).shape:
        raise ValueError("the images are not of the size of their clean ones")
    packed = [pack(image, own) for image, own in zip(adversarial, clean, strict=True)]
    _new_packed(file, np.frombuffer(b"".join(packed), np.uint8))
    new_array(file, ENDS, np.cumsum([len(image) for image in packed], dtype=np.int64))


def read_images(file: Any, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Images start..stop of a finished set, by their clean ones. Raises ValueError for what is none."""
    if PACKED not in file:
        return _images_of_first_layout(file, start, stop, clean)
    first = max(start, 1) - 1
    ends = [0] * (start == 0) + file[ENDS][first:stop].tolist()
    packed = file[PACKED][ends[0] : ends[-1]].tobytes()
    if len(ends) - 1 != len(clean) or len(packed) != ends[-1] - ends[0] or ends != sorted(ends):
        raise ValueError("its images are not as many bytes as it says")
    places = [place - ends[0] for place in ends]
    images = np.empty((len(clean), 3, *clean.shape[1:3]), np.float32)
    for image, own, (place, end) in zip(images, clean, pairwise(places), strict=True):
        image[:] = unpack(packed[place:end], own)
    return images


def _images_of_first_layout(file: Any, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Samples on the 1/255 grid were 8-bit differences from the clean image, all others float32."""
    levels = clean.transpose(0, 3, 1, 2).astype(np.int16) + file[DELTA][start:stop]
    images: npt.NDArray[np.float32] = levels.astype(np.float32) / WHITE
    for sample, row in enumerate(file[FLOAT_ROW][start:stop]):
        if row >= 0:
            images[sample] = file[FLOATS][row]
    return images


def _new_packed(file: Any, values: npt.NDArray[np.uint8]) -> None:
    new_array(file, PACKED, values, rows=min(CHUNK, max(1, len(values))))


def append(file: Any, part: Any, start: int, n: int) -> None:
    """Put a block's rows behind those that are there."""
    if start and _arrays(part) != _arrays(file):
        raise ValueError("its columns are not those of the blocks before it")
    before = len(file[PACKED]) if PACKED in file else 0
    for name in _arrays(part):
        values = part[name][:]
        if name == PACKED:
            _append_packed(file, values)
            continue
        values = values + before if name == ENDS else values
        column = file[name] if name in file else new_array(file, name, np.zeros((n, *values.shape[1:]), values.dtype))
        column[start : start + len(values)] = values


def _append_packed(file: Any, values: npt.NDArray[np.uint8]) -> None:
    if PACKED not in file:
        _new_packed(file, values)
        return
    before = len(file[PACKED])
    file[PACKED].resize(before + len(values), axis=0)
    file[PACKED][before:] = values


def checksum(file: Any, *said: str) -> str:
    """SHA-256 over what the file says (its specification, its notes), and every array: name, shape, dtype, content."""
    digest = hashlib.sha256("".join(said).encode())
    for name in _arrays(file):
        array = file[name]
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        if h5py.check_string_dtype(array.dtype):  # as the first version wrote texts
            digest.update(canonical_json(_lines(array)).encode())
            continue
        of_row = array.dtype.itemsize * math.prod(array.shape[1:])
        rows = max(BATCH, AT_ONCE // max(1, of_row))
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
