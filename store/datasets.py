"""Datasets in HDF5: images of one size as one array a split, others as their encoded bytes; labels and class names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from .errors import UserError
from .files import replacing
from .keys import canonical_json

BUFFER = 256  # images held in memory before they are written


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset file says of itself. Sizes in pixels; `image_size` is None where images vary in size."""

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, int]
    image_size: int | None
    pixel_size: int
    resize: int | None
    template: str
    source: str
    licence: str = ""
    checksum: str = ""
    partial: bool = False  # some classes have no image
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)


class DatasetWriter:
    """Writes a dataset image by image; it takes its place at `path` when the `with` block ends without error."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        class_names: Sequence[str],
        pixel_size: int,
        resize: int | None,
        template: str,
        source: str,
        licence: str = "",
        synonyms: Mapping[str, Sequence[str]] | None = None,
        image_size: int | None = None,
    ) -> None:
        self._info = DatasetInfo(
            name, tuple(class_names), {}, image_size, pixel_size, resize, template, source, licence,
            synonyms={word: tuple(words) for word, words in (synonyms or {}).items()},
        )  # fmt: skip
        self._replacing = replacing(path)
        self._splits: dict[str, _SplitWriter] = {}

    def __enter__(self) -> Self:
        self._file = h5py.File(self._replacing.__enter__(), "w")
        return self

    def add(self, split: str, image: npt.NDArray[np.uint8] | bytes, label: int) -> None:
        """Append an image, (S, S, 3) in 0..255 or its encoded bytes. Raises ValueError where it does not fit."""
        if not 0 <= label < len(self._info.class_names):
            raise ValueError(f"label {label} is not one of {len(self._info.class_names)} classes")
        if split not in self._splits:
            self._splits[split] = _SplitWriter(self._file.create_group(split), self._info.image_size)
        self._splits[split].add(image, label)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._replacing.__exit__(kind, error, traceback)

    def _finish(self) -> None:
        digests = {split: writer.finish() for split, writer in sorted(self._splits.items())}
        seen = set().union(*(writer.classes for writer in self._splits.values()))
        content = {"class_names": self._info.class_names, "splits": digests}
        info = {
            **asdict(self._info),
            "splits": {split: writer.count for split, writer in self._splits.items()},
            "checksum": hashlib.sha256(canonical_json(content).encode()).hexdigest(),
            "partial": len(seen) < len(self._info.class_names),
        }
        self._file.attrs["info"] = json.dumps(info)
        self._file.attrs["complete"] = True


class _SplitWriter:
    """One split: buffers images, appends them to the file, and hashes what passes."""

    def __init__(self, group: Any, image_size: int | None) -> None:
        self.count, self.classes = 0, set[int]()
        self._images: list[npt.NDArray[np.uint8]] = []
        self._labels: list[int] = []
        self._size, self._digest = image_size, hashlib.sha256()
        shape = () if image_size is None else (image_size, image_size, 3)
        kind = h5py.vlen_dtype(np.uint8) if image_size is None else np.uint8
        # chunks of about 100 kB: a few-shot draw reads little more than it needs, a full pass few chunks
        rows = max(1, 100_000 // max(1, int(np.prod(shape)))) if shape else 16
        self._out = group.create_dataset("images", (0, *shape), kind, maxshape=(None, *shape), chunks=(rows, *shape))
        self._out_labels = group.create_dataset("labels", (0,), np.int64, maxshape=(None,), chunks=(4096,))

    def add(self, image: npt.NDArray[np.uint8] | bytes, label: int) -> None:
        array = np.frombuffer(image, np.uint8) if isinstance(image, bytes) else np.ascontiguousarray(image)
        expected = (self._size, self._size, 3)
        if self._size is not None and (array.shape != expected or array.dtype != np.uint8):
            raise ValueError(f"an image of shape {array.shape} among images of shape {expected}")
        self._digest.update(len(array).to_bytes(8, "little") + label.to_bytes(8, "little"))
        self._digest.update(array.reshape(-1).data)
        self._images.append(array)
        self._labels.append(label)
        self.classes.add(label)
        self.count += 1
        if len(self._images) >= BUFFER:
            self._write()

    def finish(self) -> str:
        self._write()
        return self._digest.hexdigest()

    def _write(self) -> None:
        if not self._images:
            return
        start = self.count - len(self._images)
        self._out.resize(self.count, axis=0)
        self._out_labels.resize(self.count, axis=0)
        if self._size is None:
            for row, image in enumerate(self._images, start):
                self._out[row] = image
        else:
            self._out[start:] = np.stack(self._images)
        self._out_labels[start:] = self._labels
        self._images, self._labels = [], []


class Dataset:
    """A dataset file, open for reading. Reading runs no code: the file holds numbers, bytes and one JSON text."""

    def __init__(self, file: Any, info: DatasetInfo) -> None:
        self._file, self.info = file, info
        self._labels: dict[str, npt.NDArray[np.int64]] = {}

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Raises UserError when the file is missing, unfinished or damaged."""
        try:
            file = h5py.File(path, "r")
            if not file.attrs.get("complete"):
                raise KeyError("it was never finished")
            info = json.loads(str(file.attrs["info"]))
            info["class_names"] = tuple(info["class_names"])
            info["synonyms"] = {word: tuple(words) for word, words in info["synonyms"].items()}
            return cls(file, DatasetInfo(**info))
        except FileNotFoundError:
            raise UserError(f"{path.stem} is not in the store", hint=f"mmcoa fetch {path.stem}") from None
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"the dataset file {path} cannot be read: {error}",
                hint=f"remove it and type: mmcoa fetch {path.stem}",
            ) from error

    @property
    def encoded(self) -> bool:
        """Whether `images` gives encoded bytes rather than arrays."""
        return self.info.image_size is None

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """All labels of a split, (N,) in 0..K-1. Raises UserError when the dataset has no such split."""
        if split not in self._labels:
            self._labels[split] = np.asarray(self._group(split)["labels"][:], dtype=np.int64)
        return self._labels[split]

    def images(self, split: str, indices: Sequence[int] | npt.NDArray[np.int64]) -> list[Any]:
        """The images at `indices`, in that order: uint8 arrays (S, S, 3), or bytes where `encoded`."""
        images, wanted = self._group(split)["images"], np.asarray(indices, dtype=np.int64)
        if len(wanted) == 0:
            return []
        rows, place = np.unique(wanted, return_inverse=True)
        if self.encoded:
            read = {int(row): images[int(row)].tobytes() for row in rows}
            return [read[int(index)] for index in wanted]
        first, last = int(rows[0]), int(rows[-1]) + 1
        dense = last - first <= 4 * len(rows)  # HDF5 reads a range far faster than a list of rows
        found = images[first:last][rows - first] if dense else np.stack([images[int(row)] for row in rows])
        return list(found[place])

    def _group(self, split: str) -> Any:
        if split not in self._file:
            raise UserError(
                f"{self.info.name} has no split called {split!r}", hint=f"it has {', '.join(self.info.splits)}"
            )
        return self._file[split]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
