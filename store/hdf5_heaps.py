"""The heaps of an HDF5 file (where texts and encoded images lie), seen to end before the HDF5 library walks them.

A heap is a chain of entries, each as long as it says. The library follows it without a look at where it leads: one bit
that is flipped can make it walk in a circle for ever, in a call that nothing interrupts.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

HEAD, ENTRY = struct.Struct("<4sB3sQ"), struct.Struct("<HH4xQ")  # signature, version, zeros, size; index, uses, size


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
