"""Adversarial example sets: one HDF5 file per key, made block by block, complete or not there.

While a set is being made its blocks are small files of the same layout in a folder beside it. Each appears in one step,
so any number of processes may write them, a kill loses at most the blocks in the making, and the next run goes on with
those that are missing. When all are there they become one file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .errors import UserError
from .files import lock, replacing
from .keys import canonical_json, key_of

Array = npt.NDArray[Any]
LEVELS = np.float32(255)
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
            with h5py.File(self.path, "r") as file:
                return bool(file.attrs.get("complete")) and file.attrs["spec"] == canonical_json(self.spec)
        except (OSError, KeyError):
            return False

    @property
    def block_size(self) -> int:
        """The block size the set was begun with, else the one given: blocks of two sizes would not fit together."""
        if self.complete:
            with h5py.File(self.path, "r") as file:
                return int(file.attrs["block_size"])
        begun = self.parts / "blocks.json"
        return int(json.loads(begun.read_text(encoding="utf8"))["block_size"]) if begun.exists() else self._wanted_size

    def lock(self) -> AbstractContextManager[None]:
        """Held by the run that makes the set; another run of the same set waits."""
        return lock(self.path, what="an example set")

    def blocks(self) -> list[range]:
        """The samples of each block."""
        size = self.block_size
        return [range(start, min(start + size, self.n)) for start in range(0, self.n, size)]

    def missing(self) -> list[int]:
        """The numbers of the blocks that are not made yet. Begins the set where nothing was made."""
        if not (self.parts / "blocks.json").exists():
            with replacing(self.parts / "blocks.json") as partial:
                partial.write_text(json.dumps({"block_size": self._wanted_size, "n": self.n}), encoding="utf8")
        return [number for number in range(len(self.blocks())) if not self._part(number).exists()]

    def write_block(
        self, number: int, columns: Mapping[str, Array], images: tuple[npt.NDArray[np.uint8], Array] | None = None
    ) -> None:
        """Write one block: arrays of one row a sample, and for `images` the clean ones, uint8 (b, H, W, 3), with the
        adversarial ones, float32 (b, 3, H, W) in [0, 1]."""
        with replacing(self._part(number)) as partial, h5py.File(partial, "w") as file:
            for name, values in columns.items():
                file[name] = values
            if images is not None:
                _write_images(file, *images)

    def finish(
        self, *, texts: Mapping[str, Sequence[str]] | None = None, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Make one file of all blocks, with `texts` (lists of strings by name) and `notes` (JSON), and remove them.

        Raises UserError when a block is missing.
        """
        parts = [self._part(number) for number in range(len(self.blocks()))]
        if not all(part.exists() for part in parts):
            raise UserError("an example set is not whole", hint="type the same command again to go on")
        with replacing(self.path) as partial, h5py.File(partial, "w") as file:
            for part, block in zip(parts, self.blocks(), strict=True):
                with h5py.File(part, "r") as source:
                    _append(file, source, block.start, self.n)
            for name, lines in (texts or {}).items():
                file.create_dataset(f"texts/{name}", data=list(lines), dtype=h5py.string_dtype())
            file.attrs["spec"] = canonical_json(self.spec)
            file.attrs["notes"] = canonical_json(dict(notes or {}))
            file.attrs["block_size"] = self.block_size
            file.attrs["checksum"] = _checksum(file)
            file.attrs["complete"] = True
        shutil.rmtree(self.parts)

    def columns(self, name: str) -> Array:
        """A column of the finished set: one row a sample."""
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
        """Whether the file still holds what was written."""
        with self._open() as file:
            return bool(file.attrs["checksum"] == _checksum(file))

    def images(self, start: int, stop: int, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Samples start..stop as they were attacked, bit for bit: float32 (b, 3, H, W); `clean` is uint8 (b, H, W, 3)."""
        with self._open() as file:
            levels = clean.astype(np.int16) + file[DELTA][start:stop]
            images = (levels.astype(np.float32) / LEVELS).transpose(0, 3, 1, 2)
            for sample, row in enumerate(file[FLOAT_ROW][start:stop]):
                if row >= 0:
                    images[sample] = file[FLOATS][row]
        return np.ascontiguousarray(images)

    @cached_property
    def _columns(self) -> dict[str, Array]:
        with self._open() as file:
            return {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}

    def _part(self, number: int) -> Path:
        return self.parts / f"{number:06d}.h5"

    def _open(self) -> Any:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error}", hint="remove it and evaluate again") from error


def _write_images(file: Any, clean: npt.NDArray[np.uint8], adversarial: Array) -> None:
    """Samples on the 1/255 grid as their 8-bit difference from the clean image, all others as float32."""
    floats = np.ascontiguousarray(adversarial.transpose(0, 2, 3, 1), dtype=np.float32)
    levels = np.rint(floats * LEVELS).clip(0, 255)
    delta = levels.astype(np.int16) - clean
    same_bits = (levels.astype(np.float32) / LEVELS).view(np.uint32) == floats.view(np.uint32)
    on_grid = same_bits & (np.abs(delta) <= 127)
    packed = on_grid.reshape(len(clean), -1).all(axis=1)
    delta[~packed] = 0
    rows = np.where(packed, -1, np.cumsum(~packed) - 1)
    _compressed(file, DELTA, delta.astype(np.int8))
    file[FLOAT_ROW] = rows.astype(np.int64)
    _compressed(file, FLOATS, np.ascontiguousarray(adversarial[~packed], dtype=np.float32))


def _compressed(file: Any, name: str, values: Array) -> None:
    """One image a chunk, so that a sample is read without its neighbours; it may grow."""
    chunks, shape = (1, *values.shape[1:]), (None, *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunks, maxshape=shape, compression="gzip", compression_opts=1, shuffle=True)


def _append(file: Any, part: Any, start: int, n: int) -> None:
    """Copy a block's rows behind those that are there."""
    names: list[str] = []
    part.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    rows_so_far = file[FLOATS].shape[0] if FLOATS in file else 0
    for name in names:
        values = part[name][:]
        if name == FLOAT_ROW:
            values = np.where(values >= 0, values + rows_so_far, values)
        if name in (DELTA, FLOATS):
            if name not in file:
                _compressed(file, name, values)
                continue
            file[name].resize(file[name].shape[0] + len(values), axis=0)
            file[name][file[name].shape[0] - len(values) :] = values
        else:
            column = file[name] if name in file else file.create_dataset(name, (n,), values.dtype)
            column[start : start + len(values)] = values


def _checksum(file: Any) -> str:
    """SHA-256 over every array, in the order of their names, and the texts and notes."""
    digest = hashlib.sha256(str(file.attrs["spec"]).encode() + str(file.attrs["notes"]).encode())
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in sorted(names):
        digest.update(name.encode())
        if name.startswith("texts/"):
            digest.update(canonical_json([str(line) for line in file[name].asstr()[:]]).encode())
            continue
        for start in range(0, len(file[name]), 256):
            digest.update(np.ascontiguousarray(file[name][start : start + 256]).tobytes())
    return digest.hexdigest()
