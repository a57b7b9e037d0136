"""Reading an example set, or a block of one, with care: its content is verified before any of it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .example_content import LAYOUT, TEXTS, checksum, earlier_checksum
from .hdf5 import DAMAGE, descriptor, open_finished, sealed
from .hdf5_limits import refuse_unbounded
from .verification import verified


def lines_of(array: Any) -> list[str]:
    if array.dtype == np.uint8:
        return [str(line) for line in json.loads(array[:].tobytes())]
    return [str(line) for line in array.asstr()[:]]  # as the first version wrote them


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The HDF5 file at `path`. Raises UserError where it cannot be read, or lacks what the block reads from it."""
    try:
        with open_finished(path) as file:
            yield file
    except DAMAGE as error:
        raise UserError(f"{path} cannot be read: {error}", hint="remove it and evaluate again") from error


def said_of(file: Any) -> dict[str, Any]:
    """What a finished set says of itself. Raises ValueError where that was altered, or is of a layout to come."""
    known = ("spec", "notes", "block_size", "checksum")
    said = sealed(file, *known, *(["layout"] if "layout" in file.attrs else []))
    if int(said.get("layout", 1)) > LAYOUT:
        raise ValueError("it was written by a newer version of mmcoa")
    return said


def require_content(path: Path, file: Any, *, again: bool = False) -> None:
    """Raises ValueError where the content is not what was written."""
    said = said_of(file)

    def compute() -> str:
        refuse_unbounded(file)
        texts = (str(said["spec"]), str(said["notes"]))
        if int(said.get("layout", 1)) < LAYOUT:
            return earlier_checksum(file, *texts)
        return checksum(file, *texts, block_size=max(1, int(said["block_size"])))

    if not verified(path, compute, str(said["checksum"]), descriptor=descriptor(file), again=again):
        raise ValueError("its content is not what was written")


def damage(path: Path) -> str | None:
    """What is wrong with a finished example set, in words, after all of it was read again; None where it is intact."""
    try:
        with open_finished(path) as file:
            require_content(path, file, again=True)
    except DAMAGE as error:
        return str(error)
    return None


def stored_texts(path: Path) -> dict[str, list[str]]:
    """All lists of strings of a finished set, by name, whatever its specification. Raises UserError for damage."""
    with reading(path) as file:
        require_content(path, file)
        return {name: lines_of(array) for name, array in file.get(TEXTS, {}).items()}


@contextmanager
def open_part(part: Path, **said: Any) -> Iterator[tuple[Any, str]]:
    """The file of a block, which says this of itself, and the checksum that its content had. Raises UserError where it,
    or what the block of this reads of it, is not what was written; it is removed, to be made again."""
    try:
        with open_finished(part) as source:
            found = sealed(source, *said, "checksum")
            if found != {**said, "checksum": found["checksum"]}:
                raise ValueError("it is another block")
            refuse_unbounded(source)
            yield source, str(found["checksum"])
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system: the file itself may be whole
            raise
        part.unlink()
        raise UserError(
            f"the block of examples {part} was damaged, and is removed: {error}",
            hint="type the same command again: the block is made anew",
        ) from error
