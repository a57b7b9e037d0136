"""HDF5 files: written so that a full disk is an ordinary error; read, whatever their origin, as plain data only."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

# what h5py raises, depending on the bytes that are damaged
DAMAGE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError)


@contextmanager
def writing(path: Path) -> Iterator[Any]:
    """A new HDF5 file. Raises OSError when the block ends and not all of it could be written."""
    with _Output(path, "w+") as output:
        try:
            with h5py.File(output, "w") as file:
                yield file
        finally:
            if output.failure is not None:
                raise output.failure


class _Output(io.FileIO):
    """A file that keeps the first error of writing to itself: the HDF5 library, told of one, crashes at exit."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


def open_finished(path: Path) -> Any:
    """The file, open for reading. Raises OSError where it is missing or no HDF5, ValueError where it is unfinished, or
    holds links, data kept in other files, or anything but numbers, text and bytes."""
    file = h5py.File(path, "r")
    try:
        _refuse_foreign(file)
        if not bool(file.attrs.get("complete")):
            raise ValueError("it was never finished")
    except BaseException:
        file.close()
        raise
    return file


def _refuse_foreign(group: Any) -> None:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            _refuse_foreign(item)  # a group within itself ends in RecursionError
        elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual or not _plain(item.dtype):
            raise ValueError(f"{name!r} is not plain data")


def _plain(dtype: Any) -> bool:
    """Numbers, text, and byte strings of varying length; no references, no compounds, no opaque objects."""
    inside = h5py.check_vlen_dtype(dtype)
    return dtype.kind in "biuf" or h5py.check_string_dtype(dtype) is not None or inside == "uint8"
