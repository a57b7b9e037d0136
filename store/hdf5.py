"""HDF5 files: written so that a full disk is an ordinary error; read, whatever their origin, as plain data only.

A full disk must not reach the HDF5 library: told of an error it crashes at its exit, and told of none it reads back
what was never written, and crashes at once. So from the first failure on, what the library writes is kept in memory,
and it reads what it wrote. `check` raises the failure between two steps of whoever writes, which bounds the memory by
what one step writes.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5_limits import attribute, heaps_end, refuse_foreign
from .keys import canonical_json
from .verification import remembered

# what h5py raises, depending on the bytes that are damaged
DAMAGE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError)
ROWS = 4096  # rows of a chunk of numbers
SEAL = "seal"


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


class NewFile(h5py.File):  # type: ignore[misc]
    """An HDF5 file that is being written. The layout is one whose own structure has checksums."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, "w", libver=("v110", "v110"))
        self.check = output.check  # raises OSError where something could not be written


@contextmanager
def writing(path: Path) -> Iterator[NewFile]:
    """A new HDF5 file. Raises OSError when the block ends and not all of it could be written; `check` does so before.

    What the disk has no room for is kept in memory until then, so a loop calls `check` each time round.
    """
    with Output(path, "w+") as output:
        try:
            with NewFile(output) as file:
                yield file
        finally:
            output.check()


def finish(file: NewFile, **said: Any) -> None:
    """Write what the file says of itself, sealed with a checksum, and the mark that it is complete."""
    for name, value in said.items():
        # text of a fixed length lies where HDF5 has checksums
        file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
    file.attrs[SEAL] = np.bytes_(_seal(said).encode())
    file.attrs["complete"] = True


def new_array(group: Any, name: str, values: npt.NDArray[Any], *, rows: int = 0) -> Any:
    """An array of numbers, with a checksum on each chunk (of `rows`, where it will grow), so that a flipped bit is an
    error when it is read."""
    chunks = (rows or min(ROWS, max(1, len(values))), *values.shape[1:])
    return group.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]), chunks=chunks, fletcher32=True)


def open_finished(path: Path) -> Any:
    """The file, open for reading. Raises OSError where it is missing or no HDF5, ValueError where it is unfinished, or
    holds links, data kept in other files, or anything but numbers, text and bytes."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    if path.exists() and remembered(path, "heaps", lambda: str(heaps_end(path))) != str(True):
        raise ValueError("its structure is damaged")
    file = h5py.File(path, "r")
    try:
        refuse_foreign(file)
        if "complete" not in file.attrs or not bool(attribute(file, "complete")):
            raise ValueError("it was never finished")
    except BaseException:
        file.close()
        raise
    return file


def sealed(file: Any, *names: str) -> dict[str, Any]:
    """What the file says of itself, by these names. Raises ValueError where that is not what was written.

    Files of the first version have no seal; what they say is covered only as far as their content's checksum goes.
    """
    said = {name: attribute(file, name) for name in names}
    if SEAL in file.attrs and attribute(file, SEAL) != _seal(said):
        raise ValueError("what it says of itself was altered")
    return said


def descriptor(file: Any) -> int:
    """The open file that the content is read from."""
    return int(file.id.get_vfd_handle())


def _seal(said: dict[str, Any]) -> str:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in said.items()}
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()
