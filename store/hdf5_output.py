"""The file that HDF5 writes to. A full disk must not reach the HDF5 library: told of an error it crashes at its exit,
and told of none it reads back what was never written, and crashes at once.

So from the first failure on, what the library writes is kept in memory, and it reads what it wrote. `check` raises the
failure between two steps of whoever writes, which bounds the memory by what one step writes.
"""

from __future__ import annotations

import io
import os
from typing import Any


class Output(io.FileIO):
    """A file that keeps its first failure of writing, and what was written from then on, to itself."""

    failure: OSError | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._kept: list[tuple[int, bytes]] = []  # where, and what, in the order of writing
        self._end = 0  # the size the file would have

    def check(self) -> None:
        """Raises OSError where something could not be written."""
        if self.failure is not None:
            raise self.failure

    def write(self, data: Any) -> int:
        """Write all of `data`; what the disk does not take is kept in memory."""
        rest = memoryview(data).cast("B")
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._fail(error)
        if len(rest):
            self._keep(rest)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Read back what was written, also what the disk did not take."""
        if self.failure is None:
            return super().readinto(buffer)
        wanted, start = memoryview(buffer).cast("B"), self.tell()
        size = max(0, min(len(wanted), self._end - start))
        wanted[:size] = os.pread(self.fileno(), size, start).ljust(size, b"\0")
        for place, data in self._kept:
            first, last = max(start, place), min(start + size, place + len(data))
            if first < last:
                wanted[first - start : last - start] = data[first - place : last - place]
        self.seek(start + size)
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.failure is not None and whence == os.SEEK_END:
            return super().seek(self._end + offset)
        return super().seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, in memory where the disk does not take it."""
        size = self.tell() if size is None else size
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self._fail(error)
        self._end = size
        return size

    def _fail(self, error: OSError) -> None:
        self.failure, self._end = error, os.fstat(self.fileno()).st_size

    def _keep(self, rest: memoryview) -> None:
        start = self.tell()
        self._kept.append((start, bytes(rest)))
        self._end = max(self._end, self.seek(start + len(rest)))
