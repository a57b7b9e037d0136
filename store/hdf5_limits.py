"""What is taken from an HDF5 file, whatever its origin: plain data, as large as the file has bytes for.

A file may claim arrays of 10^12 rows that it does not hold, name code to decode it, point into other files, or expand a
thousandfold. `refuse_foreign` looks at its structure, each time it is opened; `refuse_unbounded` at the storage of its
arrays, once a file, before they are read whole. Both raise ValueError.

A heap (where texts and encoded images lie) is a chain of entries, each as long as it says. The library follows it
without a look at where it leads: one bit that is flipped can make it walk in a circle for ever, in a call that nothing
interrupts. So `heaps_end` looks before the library does.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import h5py

DEPTH, ITEMS = 3, 1000  # folders within folders, entries of one folder
CHUNK = 2**28  # bytes of a chunk: it is read whole
TEXT = 2**24  # bytes of an attribute
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}  # all others are plugins
REFERENCE = 16  # bytes of a text of varying length, which itself lies elsewhere in the file
IMAGES = 4  # dimensions; compressed images are read a few at a time
WHOLE = 2**28  # bytes of a compressed array that is read whole: the captions of a split
HEAD, ENTRY = struct.Struct("<4sB3sQ"), struct.Struct("<HH4xQ")  # signature, version, zeros, size; index, uses, size


def refuse_foreign(file: Any) -> None:
    """Links, data kept in other files, filters of others, anything but numbers, text and bytes."""
    if file.userblock_size:
        raise ValueError("something else stands before its data")
    for _ in _arrays(file):
        pass


def refuse_unbounded(file: Any) -> None:
    """Arrays that the file has not all the bytes of, and compressed ones that are larger than they say."""
    size = file.id.get_filesize()
    for name, array in _arrays(file):
        if not _bounded(array, size):
            raise ValueError(f"{name!r} claims more than the file holds")


def attribute(file: Any, name: str) -> Any:
    """A single value of the file's own. Raises KeyError where there is none, ValueError where it is large."""
    identifier = h5py.h5a.open(file.id, name.encode())
    if identifier.shape != () or identifier.get_storage_size() > TEXT:
        raise ValueError(f"its {name!r} is no single value")
    value = file.attrs[name]
    value = value.decode() if isinstance(value, bytes) else value
    if isinstance(value, str) and len(value) > TEXT:
        raise ValueError(f"its {name!r} is too long")
    return value


def _arrays(group: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All arrays by name, each seen to be plain data."""
    if depth >= DEPTH or len(group) > ITEMS:
        raise ValueError("it holds folders within folders, or too many entries")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _arrays(item, depth + 1)
        elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual or not _plain(item):
            raise ValueError(f"{name!r} is not plain data")
        else:
            yield name, item


def _plain(array: Any) -> bool:
    """Numbers, text, and byte strings of varying length; no references, no compounds, no opaque objects."""
    dtype, filters = array.dtype, _filters(array)
    inside = h5py.check_vlen_dtype(dtype)
    known = dtype.kind in "biuf" or h5py.check_string_dtype(dtype) is not None or inside == "uint8"
    return known and FILTERS.issuperset(filters) and len(filters) == len(set(filters))


def _filters(array: Any) -> list[int]:
    settings = array.id.get_create_plist()
    return [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]


def _bounded(array: Any, file_size: int) -> bool:
    text = h5py.check_string_dtype(array.dtype)
    item = REFERENCE if text is not None and text.length is None else array.id.get_type().get_size()
    nbytes, stored = item * math.prod(array.shape), array.id.get_storage_size()
    if array.shape is None or stored > file_size:
        return False
    if array.chunks is None:
        return bool(stored == nbytes)
    chunks = math.prod(-(-length // step) for length, step in zip(array.shape, array.chunks, strict=True))
    chunk = item * math.prod(array.chunks)
    if chunk > CHUNK or chunks > file_size or array.id.get_num_chunks() != chunks:
        return False
    if h5py.h5z.FILTER_DEFLATE not in _filters(array):
        return bool(stored >= chunks * chunk)
    steps = (range(0, length, step) for length, step in zip(array.shape, array.chunks, strict=True))
    read_apart = len(array.shape) == IMAGES
    return (read_apart or nbytes <= WHOLE) and all(_expands_to(array, place, chunk) for place in product(*steps))


def _expands_to(array: Any, place: tuple[int, ...], chunk: int) -> bool:
    """Whether a compressed chunk has the size that HDF5 expects; HDF5 itself expands it to whatever it becomes."""
    if array.id.get_chunk_info_by_coord(place).size > chunk + 64:
        return False
    skipped, stored = array.id.read_direct_chunk(place)
    filters = _filters(array)
    applied = [kind for bit, kind in enumerate(filters) if not skipped >> bit & 1]
    if h5py.h5z.FILTER_FLETCHER32 in applied:
        stored = stored[:-4]
    if h5py.h5z.FILTER_DEFLATE not in applied:
        return len(stored) == chunk
    expansion = zlib.decompressobj()
    try:
        return len(expansion.decompress(stored, chunk)) == chunk and expansion.eof
    except zlib.error:
        return False


def heaps_end(path: Path) -> bool:
    """Whether every heap in the file ends. All of the file is looked through."""
    with path.open("rb") as file:
        if path.stat().st_size < HEAD.size:
            return True
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(b"GCOL")
            while place >= 0:
                if not _ends(content, place):
                    return False
                place = content.find(b"GCOL", place + 4)
    return True


def _ends(content: mmap.mmap, start: int) -> bool:
    """Whether what begins at `start` is a heap whose entries lead to its end, or no heap at all."""
    if start + HEAD.size > len(content):
        return True
    _, version, zeros, size = HEAD.unpack_from(content, start)
    end, place = start + size, start + HEAD.size
    if version != 1 or zeros != bytes(3) or end > len(content):
        return True  # image bytes that look so, or what the library refuses
    while place + ENTRY.size <= end:
        index, _, length = ENTRY.unpack_from(content, place)
        step = ENTRY.size + (length + 7) // 8 * 8 if index else length  # entry 0 is the room that is left
        if step < ENTRY.size or place + step > end:
            return False
        place += step
    return True
