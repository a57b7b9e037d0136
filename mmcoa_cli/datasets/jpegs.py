"""JPEGs about whose header nothing is odd, as of most, decoded without Pillow's look at it, which takes longer than to
decode a small one. What Pillow would do more (turn it as EXIF says, say what is wrong) is left to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from PIL import Image

START, SCAN, QUANTISATION = b"\xff\xd8", 0xDA, 0xDB
SEQUENTIAL = {0xC0, 0xC1}
FRAMES = {*SEQUENTIAL, 0xC2}  # markers that say a size: baseline, extended, progressive
TABLES = {0xC4, 0xDD, 0xFE}  # of Huffman, how often a scan restarts, and a comment: for libjpeg alone
# what changes no pixel, or what libjpeg itself reads; and the bytes that Pillow wants of it
NOTES = {0xE0: (b"JFIF", 7), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 7)}
SEGMENTS = {*FRAMES, *TABLES, QUANTISATION, SCAN, *range(0xE0, 0xF0)}
MODES = {1: "L", 3: "RGB"}  # by the number of colours
LONGEST, SCAN_HEAD = 1 << 17, 14  # bytes of a header that is looked at, and of what stands before three colours
MOST = 500  # segments of a header; Pillow may go through more
TABLE = 65  # bytes of a quantisation table of 8 bits


class Plain(NamedTuple):
    """What the header of a sequential JPEG of one scan says, in which nothing changes its pixels."""

    width: int
    height: int
    mode: str


def size_of(data: bytes) -> tuple[int, int] | None:
    """What the first frame of a JPEG says; None where that takes more than a walk over its segments."""
    for marker, start, _ in _segments(data):
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return (width, height) if width and height else None
    return None


def plain(data: bytes) -> Plain | None:
    """What the header says; None where there is more in it, or something that Pillow refuses."""
    scan = data.find(b"\xff\xda", 0, LONGEST)
    return _header(data[: scan + SCAN_HEAD])


@lru_cache(maxsize=16)  # those of many datasets are all the same
def _header(data: bytes) -> Plain | None:
    frame = None
    for marker, start, end in _segments(data):
        if end > len(data):
            return None
        if marker == SCAN:  # of all colours: no other is read
            return frame if frame and data[start] == len(frame.mode) else None
        if marker in SEQUENTIAL and frame is None:
            frame = _frame(data[start:end])
            if frame is None:
                return None
        elif not _is_plain(marker, data, start, end):
            return None
    return None


def decoded(data: bytes, header: Plain, *, small: bool = False) -> Image.Image:
    """The image; `small` at an eighth of its sides, as `draft` gives it. Raises what Pillow's decoder does where it is
    not whole."""
    scale = next(n for n in (8, 4, 2, 1) if n <= min(header.width, header.height)) if small else 1
    size = -(-header.width // scale), -(-header.height // scale)
    image = Image.new(header.mode, size, None)  # not black at first
    image.frombytes(data, "jpeg", (header.mode, "", scale, 0))
    return image


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker of each segment up to the first scan's, and where its content begins and ends."""
    place, last = 2 if data.startswith(START) else len(data), len(data) - 9
    for _ in range(MOST):
        if place > last or data[place] != 0xFF or data[place + 1] not in SEGMENTS:
            return
        marker, start = data[place + 1], place + 4
        place += 2 + (data[place + 2] << 8 | data[place + 3])
        if place < start:
            return
        yield marker, start, place
        if marker == SCAN:
            return


def _frame(content: bytes) -> Plain | None:
    """What a frame of 8 bits says, of as many colours as there is a mode for."""
    if len(content) < 6 or content[0] != 8 or content[5] not in MODES or len(content) != 6 + 3 * content[5]:
        return None
    height, width = struct.unpack_from(">HH", content, 1)
    return Plain(width, height, MODES[content[5]]) if width and height else None


def _is_plain(marker: int, data: bytes, start: int, end: int) -> bool:
    if marker == QUANTISATION:
        return (end - start) % TABLE == 0 and all(data[place] < 16 for place in range(start, end, TABLE))
    if marker in NOTES:
        begin, least = NOTES[marker]
        return end - start >= least and data.startswith(begin, start)
    return marker in TABLES
