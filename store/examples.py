"""Adversarial example sets: one HDF5 file per key, made block by block, complete or not there.

While a set is being made its blocks are small files of the same layout in a folder beside it. Each appears in one step,
so any number of processes may write them, a kill loses at most the blocks in the making, and the next run goes on with
those that are missing. When all are there they become one file.
"""

from __future__ import annotations

import hashlib
import json
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
from .files import lock, replacing
from .hdf5 import DAMAGE, open_finished, writing
from .keys import canonical_json, key_of

Array = npt.NDArray[Any]
LEVELS = np.float32(255)
BATCH = 64  # rows hashed at a time
DELTA, FLOATS, FLOAT_ROW = "images/delta", "images/float32", "images/float32_row"


class ExampleSet:
    """The example set of `spec` under `root`: `n` samples in blocks of `block_size` (the last may be smaller)."""

    def __init__(self, root: Path, spec: Mapping[str, Any], *, n: int, block_size: int) -> None:
        self.spec, self.n, self._wanted_size = spec, n, block_size
        self.key = key_of(spec)
        self.path, self.parts = root / f"{self.key}.h5", root / f"{self.key}.parts"

    @property
    def complete(self) -> bool:
        """Whether the file is there, finished, and of this very specification."""
        try:
            with open_finished(self.path) as file:
                return str(file.attrs["spec"]) == canonical_json(self.spec)
        except DAMAGE:
            return False

    @property
    def block_size(self) -> int:
        """The block size the set was begun with, else the one given: blocks of two sizes would not fit together."""
        if self.complete:
            with self._open() as file:
                return int(file.attrs["block_size"])
        return int(self._begun.read_text(encoding="utf8")) if self._begun.exists() else self._wanted_size

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
            if part.exists():
                return
            with replacing(part) as partial, writing(partial) as file:
                for name, values in columns.items():
                    file[name] = values
                if images is not None:
                    _write_images(file, *images)
                file.attrs["complete"] = True

    def finish(
        self, *, texts: Mapping[str, Sequence[str]] | None = None, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Make one file of all blocks, with `texts` (lists of strings by name) and `notes` (JSON), and remove them.

        Does nothing to a set that is complete. Raises UserError when a block is missing or damaged.
        """
        with self.lock():
            if not self.complete:
                self._assemble(texts or {}, notes or {})
            shutil.rmtree(self.parts, ignore_errors=True)  # another run of the same set may be writing a block again

    def _assemble(self, texts: Mapping[str, Sequence[str]], notes: Mapping[str, Any]) -> None:
        parts = [self._part(number) for number in range(len(self.blocks()))]
        if not all(part.exists() for part in parts):
            raise UserError("an example set is not whole", hint="type the same command again to go on")
        with replacing(self.path) as partial, writing(partial) as file:
            for part, block in zip(parts, self.blocks(), strict=True):
                with _reading(part) as source:
                    _append(file, source, block.start, self.n)
                file.check()
            for name, lines in texts.items():
                file.create_dataset(f"texts/{name}", data=list(lines), dtype=h5py.string_dtype())
            file.attrs["spec"] = canonical_json(self.spec)
            file.attrs["notes"] = canonical_json(notes)
            file.attrs["block_size"] = self.block_size
            file.attrs["checksum"] = _checksum(file)
            file.attrs["complete"] = True

    def columns(self, name: str) -> Array:
        """A column of the finished set: one row a sample. Raises UserError, as all reading does, for a damaged file."""
        return np.asarray(self._columns[name])

    def texts(self, name: str) -> list[str]:
        """A list of strings of the finished set."""
        with self._open() as file:
            return [str(line) for line in file[f"texts/{name}"].asstr()[:]]

    @property
    def notes(self) -> dict[str, Any]:
        with self._open() as file:
            notes: dict[str, Any] = json.loads(str(file.attrs["notes"]))
            return notes

    @property
    def checksum(self) -> str:
        with self._open() as file:
            return str(file.attrs["checksum"])

    def verify(self) -> bool:
        """Whether the file still holds what was written. Raises UserError where it cannot even be read."""
        with self._open() as file:
            return str(file.attrs["checksum"]) == _checksum(file)

    def images(self, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Samples start..stop, bit for bit as they were attacked: float32 (b, 3, H, W). `clean`: uint8 (b, H, W, 3)."""
        with self._open() as file:
            levels = clean.transpose(0, 3, 1, 2).astype(np.int16) + file[DELTA][start:stop]
            images: npt.NDArray[np.float32] = levels.astype(np.float32) / LEVELS
            for sample, row in enumerate(file[FLOAT_ROW][start:stop]):
                if row >= 0:
                    images[sample] = file[FLOATS][row]
        return images

    @cached_property
    def _columns(self) -> dict[str, Array]:
        with self._open() as file:
            return {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}

    def _part(self, number: int) -> Path:
        return self.parts / f"{number:06d}.h5"

    def _open(self) -> AbstractContextManager[Any]:
        return _reading(self.path)

    @property
    def _begun(self) -> Path:
        return self.parts / "block_size"

    def _begin(self) -> None:
        if not self._begun.exists():
            with replacing(self._begun) as partial:
                partial.write_text(str(self._wanted_size), encoding="utf8")


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """The HDF5 file at `path`. Raises UserError where it cannot be read, or lacks what the block reads from it."""
    try:
        with open_finished(path) as file:
            yield file
    except DAMAGE as error:
        raise UserError(f"{path} cannot be read: {error}", hint="remove it and evaluate again") from error


def _write_images(file: Any, clean: npt.NDArray[np.uint8], adversarial: Array) -> None:
    """Samples on the 1/255 grid as their 8-bit difference from the clean image, all others as float32."""
    if adversarial.dtype != np.float32 or clean.dtype != np.uint8:
        raise ValueError(f"images are uint8 and float32, not {clean.dtype} and {adversarial.dtype}")
    floats = np.ascontiguousarray(adversarial)
    levels = np.rint(floats * LEVELS).clip(0, 255).astype(np.int16)
    delta = levels - clean.transpose(0, 3, 1, 2)
    same_bits = (levels.astype(np.float32) / LEVELS).view(np.uint32) == floats.view(np.uint32)
    packed = (same_bits & (np.abs(delta) <= 127)).reshape(len(clean), -1).all(axis=1)
    delta[~packed] = 0
    _new_images(file, DELTA, delta.shape, np.int8)[:] = delta
    _new_images(file, FLOATS, floats[~packed].shape, np.float32)[:] = floats[~packed]
    file[FLOAT_ROW] = np.where(packed, -1, np.cumsum(~packed) - 1).astype(np.int64)


def _new_images(file: Any, name: str, shape: tuple[int, ...], dtype: type) -> Any:
    """One image a chunk, so that a sample is read without its neighbours. Differences are compressed; floats hardly
    become smaller by it."""
    packing = {"compression": 1, "shuffle": True} if name == DELTA else {}  # 1: gzip at its fastest
    return file.create_dataset(name, shape, dtype, maxshape=(None, *shape[1:]), chunks=(1, *shape[1:]), **packing)


def _append(file: Any, part: Any, start: int, n: int) -> None:
    """Put a block's rows behind those that are there."""
    if start and _arrays(part) != _arrays(file):
        raise ValueError("its columns are not those of the blocks before it")
    floats_before = len(file[FLOATS]) if FLOATS in file else 0
    for name in _arrays(part):
        if name in (DELTA, FLOATS):
            _append_images(file, part[name], name)
            continue
        values = part[name][:]
        if name == FLOAT_ROW:
            values = np.where(values >= 0, values + floats_before, values)
        column = file[name] if name in file else file.create_dataset(name, (n,), values.dtype)
        column[start : start + len(values)] = values


def _append_images(file: Any, source: Any, name: str) -> None:
    """Copy the chunks, one an image, compressed as they are."""
    if name not in file:
        _new_images(file, name, (0, *source.shape[1:]), source.dtype)
    target, rest = file[name], (0,) * (source.ndim - 1)
    before = len(target)
    target.resize(before + len(source), axis=0)
    for row in range(len(source)):
        filters, chunk = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((before + row, *rest), chunk, filters)


def _checksum(file: Any) -> str:
    """SHA-256 over the specification, the notes, and every array: name, shape, dtype, content."""
    digest = hashlib.sha256(str(file.attrs["spec"]).encode() + str(file.attrs["notes"]).encode())
    for name in _arrays(file):
        digest.update(canonical_json([name, file[name].dtype.str, list(file[name].shape)]).encode())
        if name.startswith("texts/"):
            digest.update(canonical_json([str(line) for line in file[name].asstr()[:]]).encode())
            continue
        for start in range(0, len(file[name]), BATCH):
            digest.update(file[name][start : start + BATCH].tobytes())
    return digest.hexdigest()


def _arrays(file: Any) -> list[str]:
    """The names of all arrays of a file, sorted."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(names)
