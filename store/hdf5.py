"""HDF5 files: written so that a full disk is an ordinary error; read, whatever their origin, as plain data only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from .hdf5_output import Output

# what h5py raises, depending on the bytes that are damaged
DAMAGE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError)


class NewFile(h5py.File):  # type: ignore[misc]
    """An HDF5 file that is being written."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, "w")
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
