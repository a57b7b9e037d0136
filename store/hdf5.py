"""HDF5 files: written so that a full disk is an ordinary error; read, whatever their origin, as plain data only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5_heaps import heaps_end
from .hdf5_limits import attribute, refuse_foreign
from .hdf5_output import Output
from .keys import canonical_json
from .verification import remembered

# what h5py raises, depending on the bytes that are damaged
DAMAGE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError)
ROWS = 4096  # rows of a chunk of numbers
SEAL = "seal"


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
