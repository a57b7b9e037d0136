"""What the pages of a parquet file claim to unpack to, before anything of them is unpacked.

A page's header says how many bytes it unpacks to, and pyarrow allocates as many. A header is a struct of Thrift's
compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); of the fields of
`PageHeader` (https://github.com/apache/parquet-format) only the two sizes are read, the others are skipped.
"""

from __future__ import annotations

import os
from typing import IO, Any

from store.errors import UserError

MAX_RATIO, MAX_EXTRA = 20, 128 << 20  # a page of n bytes may unpack to MAX_RATIO * n + MAX_EXTRA bytes
MAX_HEADER = 1 << 20  # bytes that are read of one; the values in it are skipped
MAX_DEPTH = 8  # structs within structs
_UNPACKED, _PACKED = 2, 3  # the fields of a page's header
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def largest_page(file: IO[bytes], chunk: Any, *, title: str) -> int:
    """The bytes that the largest page of a column chunk unpacks to. Raises UserError where they are far more than the
    page has, ValueError where its pages do not lie in the file."""
    start, size = chunk.data_page_offset, chunk.total_compressed_size
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    end, length = start + size, file.seek(0, os.SEEK_END)
    if not 0 < start <= end <= length:
        raise ValueError(f"its column {chunk.path_in_schema} does not lie in the file")
    largest = 0
    while start < end:
        file.seek(start)
        unpacked, packed = _Header(file).sizes()
        if unpacked > MAX_RATIO * packed + MAX_EXTRA:
            raise UserError(
                f"{title} holds a page that unpacks to {unpacked / 1e9:.1f} GB", hint="do not trust this file"
            )
        largest, start = max(largest, unpacked), file.tell() + packed
    return largest


class _Header:
    """One page's header, read from where `file` stands."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, MAX_HEADER

    def sizes(self) -> tuple[int, int]:
        """The bytes of the page, unpacked and as it is."""
        found = self._fields(0)
        if found.get(_UNPACKED, -1) < 0 or found.get(_PACKED, -1) < 0:
            raise ValueError("a page says no size")
        return found[_UNPACKED], found[_PACKED]

    def _fields(self, depth: int) -> dict[int, int]:
        """The whole numbers of a struct by the ids of their fields; all else is skipped."""
        if depth > MAX_DEPTH:
            raise ValueError("the header of a page is nested too deep")
        found, number = {}, 0
        while (head := self._byte()) != 0:
            kind, step = head & 15, head >> 4
            number = number + step if step else self._signed()
            if kind in (_I16, _I32, _I64):
                found[number] = self._signed()
            elif kind not in (_TRUE, _FALSE):  # a field's truth is its kind
                self._skip(kind, depth)
        return found

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE, _BYTE):
            self._forward(1)
        elif kind in (_I16, _I32, _I64):
            self._unsigned()
        elif kind == _DOUBLE:
            self._forward(8)
        elif kind == _BINARY:
            self._forward(self._unsigned())
        elif kind == _STRUCT:
            self._fields(depth + 1)
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            for _ in range(count):
                self._skip(head & 15, depth + 1)
        else:
            raise ValueError("the header of a page is none")

    def _forward(self, count: int) -> None:
        self._file.seek(count, os.SEEK_CUR)

    def _byte(self) -> int:
        data = self._file.read(1)
        self._left -= 1
        if not data or not self._left:
            raise ValueError("the header of a page is cut off, or too long")
        return data[0]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("the header of a page holds a number that is too large")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
