"""Datasets in HDF5: images of one size as one array a split, others as their encoded bytes; labels and class names."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .dataset_content import compute_checksum, crc_of_captions, read_captions
from .dataset_info import DatasetInfo, parse_info
from .errors import Lost, UserError
from .hdf5 import DAMAGE, descriptor, open_finished, sealed
from .verification import verified

LARGE = 2**31  # bytes that take a while to look through

log = logging.getLogger(__name__)


class Dataset:
    """A dataset file, open for reading. Reading runs no code: the file holds numbers, bytes and one JSON text."""

    def __init__(self, file: Any, info: DatasetInfo) -> None:
        self._file, self._path, self.info = file, Path(file.filename), info
        self._labels: dict[str, npt.NDArray[np.int64]] = {}
        self._crcs: dict[str, npt.NDArray[np.uint32] | None] = {}

    @classmethod
    def open(cls, path: Path, *, again: bool = False) -> Dataset:
        """The dataset, its content verified: once a file, or `again`.

        Raises UserError when the file is missing, unfinished, damaged or altered.
        """
        file, info = _described(path)
        try:
            _require_content(path, file, info, again=again)
        except DAMAGE as error:
            file.close()
            raise _damaged(path, error) from error
        except BaseException:
            file.close()
            raise
        return cls(file, info)

    @classmethod
    def info_of(cls, path: Path) -> DatasetInfo:
        """What the file says of itself; its images are not looked at. Raises UserError as `open` does."""
        file, info = _described(path)
        file.close()
        return info

    def attacked_at(self, pixel_size: int, *, resize: int | None) -> Dataset:
        """This dataset, over the same open file, with its images attacked at another size: after a resize of the
        shorter side, if any, and a crop."""
        return Dataset(self._file, replace(self.info, pixel_size=pixel_size, resize=resize))

    def asked_with(self, template: str) -> Dataset:
        """This dataset, over the same open file, with another template of class prompts."""
        return Dataset(self._file, replace(self.info, template=template))

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def encoded(self) -> bool:
        """Whether `images` gives encoded bytes rather than arrays."""
        return self.info.image_size is None

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """All labels of a split, (N,) in 0..K-1. Raises UserError when the dataset has no such split."""
        if split not in self._labels:
            self._labels[split] = self._read(self._group(split)["labels"], slice(None))
        return self._labels[split]

    def images(self, split: str, indices: Sequence[int] | npt.NDArray[np.int64]) -> list[Any]:
        """The images at `indices`, in that order: uint8 arrays (S, S, 3), or bytes where `encoded`."""
        images, wanted = self._group(split)["images"], np.asarray(indices, dtype=np.int64)
        if len(wanted) == 0:
            return []
        rows, place = np.unique(wanted, return_inverse=True)
        if self.encoded:
            read = {int(row): self._encoded(split, images, int(row)) for row in rows}
            return [read[int(index)] for index in wanted]
        first, last = int(rows[0]), int(rows[-1]) + 1
        dense = last - first <= 4 * len(rows)  # HDF5 reads a range far faster than a list of rows
        if dense:
            return list(self._read(images, slice(first, last))[rows - first][place])
        return list(np.stack([self._read(images, int(row)) for row in rows])[place])

    def captions(self, split: str) -> list[list[str]]:
        """The captions of each image of a split. Raises UserError for a dataset without captions."""
        if not self.info.captions:
            raise UserError(f"{self.info.name} has classes and no captions", hint="mscoco has captions")
        group = self._group(split)
        try:
            every = list(read_captions(group, len(group["labels"])))
        except DAMAGE as error:
            raise _damaged(self._path, error) from error
        crcs = self._crcs_of(split, "captions_crc32")
        if crcs is not None and [crc_of_captions(lines) for lines in every] != crcs.tolist():
            raise _damaged(self._path, "its captions were altered")
        return every

    def _encoded(self, split: str, images: Any, row: int) -> bytes:
        image, crcs = self._read(images, row).tobytes(), self._crcs_of(split, "images_crc32")
        if crcs is not None and zlib.crc32(image) != crcs[row]:
            raise _damaged(self._path, f"image {row} of its split {split!r} was altered")
        return image

    def _crcs_of(self, split: str, name: str) -> npt.NDArray[np.uint32] | None:
        """The checksums of what HDF5 itself has none of; None in files of the first version."""
        place = f"{split}/{name}"
        if place not in self._crcs:
            group = self._group(split)
            self._crcs[place] = self._read(group[name], slice(None)) if name in group else None
        return self._crcs[place]

    def _read(self, array: Any, rows: int | slice) -> npt.NDArray[Any]:
        try:
            return np.asarray(array[rows])
        except DAMAGE as error:
            raise _damaged(self._path, error) from error

    def _group(self, split: str) -> Any:
        if split not in self._file:
            raise UserError(
                f"{self.info.name} has no split called {split!r}",
                hint=f"it has {', '.join(self.info.splits)}",
            )
        return self._file[split]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _described(path: Path) -> tuple[Any, DatasetInfo]:
    """The open file, and what it says of itself. Raises UserError."""
    try:
        file = open_finished(path)
    except FileNotFoundError:
        raise Lost(f"{path.stem} is not in the store", name=path.stem) from None
    except DAMAGE as error:
        raise _damaged(path, error) from error
    try:
        return file, _info(file)
    except DAMAGE as error:
        file.close()
        raise _damaged(path, error) from error


def _info(file: Any) -> DatasetInfo:
    """What the file says of itself. Raises one of DAMAGE where that is not so, or cannot be."""
    said = parse_info(file, str(sealed(file, "info")["info"]))
    said["class_names"], said["folders"] = tuple(said["class_names"]), tuple(said.get("folders", ()))
    said["synonyms"] = {word: tuple(words) for word, words in said["synonyms"].items()}
    return DatasetInfo(**said)


def _require_content(path: Path, file: Any, info: DatasetInfo, *, again: bool) -> None:
    """Raises ValueError where the content is not what was written."""

    def compute() -> str:
        if path.stat().st_size > LARGE and not again:
            log.warning("looking through %s once, to see that it is intact", path)
        return compute_checksum(file, info)

    if not verified(path, compute, info.checksum, descriptor=descriptor(file), again=again):
        raise ValueError("its content is not what was written")


def _damaged(path: Path, error: BaseException | str) -> UserError:
    what = f"the dataset file {path} cannot be read: {error}"
    if isinstance(error, PermissionError):
        return UserError(what, hint="see that you may read it")
    return Lost(what, name=path.stem, damaged=path)
