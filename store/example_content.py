"""What an example set's file holds: images that come back bit for bit, columns, texts, and the checksum of it all."""

from __future__ import annotations

import hashlib
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5 import new_array
from .keys import canonical_json

Array = npt.NDArray[Any]
LEVELS = np.float32(255)
BATCH = 64  # rows hashed at a time
DELTA, FLOATS, FLOAT_ROW = "images/delta", "images/float32", "images/float32_row"
TEXTS, ARRAYS = "texts/", "arrays/"


def write_images(file: Any, clean: npt.NDArray[np.uint8], adversarial: Array) -> None:
    """Samples on the 1/255 grid as their 8-bit difference from the clean image, all others as float32."""
    if adversarial.dtype != np.float32 or clean.dtype != np.uint8:
        raise ValueError(f"images are uint8 and float32, not {clean.dtype} and {adversarial.dtype}")
    floats = np.ascontiguousarray(adversarial)
    levels = np.rint(floats * LEVELS).clip(0, 255).astype(np.int16)
    delta = levels - clean.transpose(0, 3, 1, 2)
    same_bits = (levels.astype(np.float32) / LEVELS).view(np.uint32) == floats.view(np.uint32)
    packed = (same_bits & (np.abs(delta) <= 127)).reshape(len(clean), -1).all(axis=1)
    delta[~packed] = 0
    _new_images(file, DELTA, delta.shape, np.int8)[:] = delta
    _new_images(file, FLOATS, floats[~packed].shape, np.float32)[:] = floats[~packed]
    new_array(file, FLOAT_ROW, np.where(packed, -1, np.cumsum(~packed) - 1).astype(np.int64))


def _new_images(file: Any, name: str, shape: tuple[int, ...], dtype: type) -> Any:
    """One image a chunk, so that a sample is read without its neighbours. Differences are compressed; floats hardly
    become smaller by it."""
    packing = {"compression": 1, "shuffle": True} if name == DELTA else {}  # 1: gzip at its fastest
    return file.create_dataset(
        name, shape, dtype, maxshape=(None, *shape[1:]), chunks=(1, *shape[1:]), fletcher32=True, **packing
    )


def append(file: Any, part: Any, start: int, n: int) -> None:
    """Put a block's rows behind those that are there."""
    if start and _arrays(part) != _arrays(file):
        raise ValueError("its columns are not those of the blocks before it")
    floats_before = len(file[FLOATS]) if FLOATS in file else 0
    for name in _arrays(part):
        if name in (DELTA, FLOATS):
            _append_images(file, part[name], name)
            continue
        values = part[name][:]
        if name == FLOAT_ROW:
            values = np.where(values >= 0, values + floats_before, values)
        column = file[name] if name in file else new_array(file, name, np.zeros((n, *values.shape[1:]), values.dtype))
        column[start : start + len(values)] = values


def _append_images(file: Any, source: Any, name: str) -> None:
    """Copy the chunks, one an image, compressed as they are."""
    if name not in file:
        _new_images(file, name, (0, *source.shape[1:]), source.dtype)
    target, rest = file[name], (0,) * (source.ndim - 1)
    before = len(target)
    target.resize(before + len(source), axis=0)
    for row in range(len(source)):
        filters, chunk = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((before + row, *rest), chunk, filters)


def checksum(file: Any, *said: str) -> str:
    """SHA-256 over what the file says (its specification, its notes), and every array: name, shape, dtype, content."""
    digest = hashlib.sha256("".join(said).encode())
    for name in _arrays(file):
        array = file[name]
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        if h5py.check_string_dtype(array.dtype):  # as the first version wrote texts
            digest.update(canonical_json(_lines(array)).encode())
            continue
        for start in range(0, len(array), BATCH):
            digest.update(array[start : start + BATCH].tobytes())
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
