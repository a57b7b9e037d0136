"""Adversarial example sets: one HDF5 file per key, made block by block, complete or not there.

While a set is being made its blocks are small files of the same layout in a folder beside it. Each appears in one step,
so any number of processes may write them, a kill loses at most the blocks in the making, and the next run goes on with
those that are missing. When all are there they become one file.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .errors import UserError
from .example_content import ARRAYS, LAYOUT, TEXTS, Joining, checksum, packed_images, read_images, write_block
from .example_reading import lines_of, open_part, reading, require_content, said_of
from .files import lock, replacing
from .hdf5 import finish, new_array, writing
from .keys import canonical_json, key_of

NOT_WHOLE, AGAIN = "an example set is not whole", "type the same command again to go on"
ALTERED = "its content is not what was written"

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


class ExampleSet:
    """The example set of `spec` under `root`: `n` samples in blocks of `block_size` (the last may be smaller).

    What was found once of a set that is begun or finished is not read again; only that it is neither may change.
    """

    def __init__(self, root: Path, spec: Mapping[str, Any], *, n: int, block_size: int) -> None:
        self.spec, self.n, self._wanted_size = spec, n, block_size
        self._told = False
        self._said: dict[str, Any] | None = None  # by the finished set, of itself
        self._size: int | None = None
        self.key = key_of(spec)
        self.path, self.parts = root / f"{self.key}.h5", root / f"{self.key}.parts"

    @property
    def complete(self) -> bool:
        """Whether the file is there, finished, intact, and of this very specification. A damaged one is made again."""
        if self._said is None and self.path.exists():
            try:
                with self._open() as file:
                    said = said_of(file)
                if said["spec"] == canonical_json(self.spec):
                    self._said = said
            except UserError as error:
                if not self._told:
                    log.warning("%s; it is made again", error)
                    self._told = True
        return self._said is not None

    def _known(self) -> dict[str, Any]:
        """Raises UserError where the set is not complete."""
        if not self.complete or self._said is None:
            raise UserError(f"{self.path} is not a whole example set", hint="evaluate again")
        return self._said

    @property
    def block_size(self) -> int:
        """The block size the set was begun with, else the one given: blocks of two sizes would not fit together."""
        if self._size is None and self.complete:
            self._size = int(self._known()["block_size"])
        elif self._size is None and self._begun.exists():
            self._size = self._read_begun()
        return self._wanted_size if self._size is None else self._size

    def lock(self) -> AbstractContextManager[None]:
        """Held by the run that makes the set, which may take it again; another run of the same set waits."""
        return lock(self.path, what="an example set")

    def blocks(self) -> list[range]:
        """The samples of each block."""
        size = self.block_size
        return [range(start, min(start + size, self.n)) for start in range(0, self.n, size)]

    def missing(self) -> list[int]:
        """The numbers of the blocks that are not made yet. Begins the set where nothing was made."""
        if self.complete:
            return []
        if not self._begun.exists():
            with self.lock():
                self._begin()
        return [number for number in range(len(self.blocks())) if not self._part(number).exists()]

    def write_block(
        self, number: int, columns: Mapping[str, Array], images: tuple[npt.NDArray[np.uint8], Array] | None = None
    ) -> None:
        """Write one block: arrays of one row a sample, and for `images` the clean ones, uint8 (b, H, W, 3), with the
        adversarial ones, float32 (b, 3, H, W) in [0, 1]. A block that is there already stays.

        Raises ValueError when an array has not one row for each sample of the block.
        """
        rows, part = len(self.blocks()[number]), self._part(number)
        if any(len(values) != rows for values in (*columns.values(), *(images or ()))):
            raise ValueError(f"block {number} has {rows} samples")
        with lock(part, what="a block of examples"):
            if part.exists() or self.complete:  # another process may have finished the set while this one waited
                return
            packed = packed_images(*images) if images else {}
            with replacing(part) as partial, writing(partial) as file:
                found = write_block(file, columns, packed)
                finish(file, key=self.key, start=self.blocks()[number].start, rows=rows, checksum=found)

    def block_columns(self, number: int) -> dict[str, Array]:
        """The columns of a block that is made, of a set that is not finished. Raises UserError as `finish` does."""
        with self._read_part(number) as source:
            return {name: source[name][:] for name in source if isinstance(source[name], h5py.Dataset)}

    def block_images(self, number: int, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Samples start..stop of such a block, as `images` gives them of a finished set."""
        first = self.blocks()[number].start
        with self._read_part(number) as source:
            return read_images(source, start - first, stop - first, clean)

    def made(self, name: str) -> Array:
        """A column of a set whose blocks are all made, but which is not finished. Raises UserError as `finish` does."""
        found = []
        for number in range(len(self.blocks())):
            with self._read_part(number) as source:
                found.append(np.asarray(source[name][:]))
        return np.concatenate(found)

    def finish(
        self,
        *,
        texts: Mapping[str, Sequence[str]] | None = None,
        notes: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
    ) -> None:
        """Make one file of all blocks, with `texts` (lists of strings by name), `notes` (JSON) and `arrays` (of any
        number of rows), and remove them.

        Does nothing to a set that is complete. Raises UserError when a block is missing or damaged.
        """
        with self.lock():
            if not self.complete:
                self._assemble(texts or {}, notes or {}, arrays or {})
            shutil.rmtree(self.parts, ignore_errors=True)  # another run of the same set may be writing a block again

    def _assemble(
        self, texts: Mapping[str, Sequence[str]], notes: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> None:
        if not all(self._part(number).exists() for number in range(len(self.blocks()))):
            raise UserError(NOT_WHOLE, hint=AGAIN)
        with replacing(self.path) as partial, writing(partial) as file:
            whole = Joining(file, self.n)
            for number, block in enumerate(self.blocks()):
                with self._open_part(number) as (source, expected):
                    if whole.add(source, block.start) != expected:
                        raise ValueError(ALTERED)
                file.check()
            for name, values in arrays.items():
                new_array(file, f"{ARRAYS}{name}", values)
            for name, lines in texts.items():
                new_array(file, f"{TEXTS}{name}", np.frombuffer(canonical_json(list(lines)).encode(), np.uint8))
            texts_of = {"spec": canonical_json(self.spec), "notes": canonical_json(notes)}
            found = whole.checksum(*texts_of.values())
            finish(file, **texts_of, block_size=self.block_size, layout=LAYOUT, checksum=found)

    @contextmanager
    def _read_part(self, number: int) -> Iterator[Any]:
        """The file of a block, of which all is what was written."""
        with self._open_part(number) as (source, expected):
            if checksum(source, block_size=len(self.blocks()[number])) != expected:
                raise ValueError(ALTERED)
            yield source

    def _open_part(self, number: int) -> AbstractContextManager[tuple[Any, str]]:
        """As `open_part` gives it. Raises UserError for one that is not made."""
        part, block = self._part(number), self.blocks()[number]
        if not part.exists():
            raise UserError(NOT_WHOLE, hint=AGAIN)
        return open_part(part, key=self.key, start=block.start, rows=len(block))

    def holds(self, name: str) -> bool:
        """Whether the finished set has a column of this name."""
        return name in self._content[0]

    def columns(self, name: str) -> Array:
        """A column of the finished set: one row a sample. Raises UserError, as all reading does, for a damaged file."""
        return np.asarray(self._named(self._content[0], name))

    def values(self, name: str) -> Array:
        """A column, or one of the arrays beside them, which may have any number of rows."""
        columns, _, arrays = self._content
        return np.asarray(self._named({**columns, **arrays}, name))

    def texts(self, name: str) -> list[str]:
        """A list of strings of the finished set."""
        return list(self._named(self._content[1], name))

    def _named(self, found: Mapping[str, Any], name: str) -> Any:
        if name not in found:
            raise UserError(f"{self.path} holds no {name!r}", hint="remove it and evaluate again")
        return found[name]

    @property
    def notes(self) -> dict[str, Any]:
        return dict(json.loads(self._known()["notes"]))

    @property
    def checksum(self) -> str:
        """SHA-256 of all that the finished set holds."""
        return str(self._known()["checksum"])

    def images(self, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Samples start..stop, bit for bit as they were attacked: float32 (b, 3, H, W). `clean`: uint8 (b, H, W, 3)."""
        with self._open() as file:
            return read_images(file, start, stop, clean)

    @cached_property
    def _content(self) -> tuple[dict[str, Array], dict[str, list[str]], dict[str, Array]]:
        """All columns, texts and arrays."""
        with self._open() as file:
            columns = {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}
            arrays = {name: array[:] for name, array in file.get(ARRAYS, {}).items()}
            for name, values in {**columns, **arrays}.items():
                if values.dtype.kind == "f" and not np.isfinite(values).all():
                    raise ValueError(f"its column {name!r} holds what is no number")
            return columns, {name: lines_of(array) for name, array in file.get(TEXTS, {}).items()}, arrays

    def _part(self, number: int) -> Path:
        return self.parts / f"block-{number:06d}.{LAYOUT}.h5"  # those of another layout are made again

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The finished file, its content verified. Raises UserError where it cannot be read or was altered."""
        with reading(self.path) as file:
            require_content(self.path, file)
            if any(len(array) != self.n for array in file.values() if isinstance(array, h5py.Dataset)):
                raise ValueError(f"it is not of {self.n} samples")
            yield file

    @property
    def _begun(self) -> Path:
        return self.parts / "block_size"

    def _begin(self) -> None:
        if not self._begun.exists():
            with replacing(self._begun) as partial:
                partial.write_text(f"{self._wanted_size} {key_of(self._wanted_size)}", encoding="utf8")

    def _read_begun(self) -> int:
        size, *check = self._begun.read_text(encoding="utf8", errors="replace").split(" ")
        # the first version wrote no check
        if size.isascii() and size.isdecimal() and check in ([], [key_of(int(size))]):
            return int(size)
        hint = f"remove the folder {self.parts} and type the same command again"
        raise UserError(f"{self._begun} is damaged", hint=hint)


def stored_set(path: Path) -> ExampleSet:
    """The finished example set at `path`, of the specification that it holds. Raises UserError where it is damaged."""
    with reading(path) as file:
        require_content(path, file)
        said = said_of(file)
        samples = next(len(array) for array in file.values() if isinstance(array, h5py.Dataset))
        found = ExampleSet(path.parent, json.loads(said["spec"]), n=samples, block_size=int(said["block_size"]))
        if found.path.name != path.name:
            raise ValueError("it is not the set that its name says")
    return found
