"""Datasets in HDF5: images of one size as one array a split, others as their encoded bytes; labels and class names."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from .dataset_content import SplitDigest, compute_checksum, content_checksum, crc_of_captions, parse_info
from .errors import UserError
from .files import replacing
from .hdf5 import DAMAGE, descriptor, finish, new_array, open_finished, sealed, writing
from .verification import verified

BUFFER, BUFFER_BYTES = 256, 32 << 20  # images held in memory before they are written
LARGE = 2**31  # bytes that take a while to look through
LISTED = 1000  # names of left out files that are kept for each reason

log = logging.getLogger(__name__)


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
    captions: int = 0  # captions an image, of a dataset without classes
    expected: dict[str, int] = field(default_factory=dict)  # the images of the whole dataset, where that is known
    present: dict[str, int] = field(default_factory=dict)  # the classes that have images
    oriented: bool = False  # turned as their EXIF says, here or (encoded images) where they are decoded
    folders: tuple[str, ...] = ()  # what the classes were called where the images came from
    changes: dict[str, int] = field(default_factory=dict)  # what decoding changes, in words -> images
    left_out: dict[str, list[str]] = field(default_factory=dict)  # reason -> files, the first `LISTED` of them
    left_out_counts: dict[str, int] = field(default_factory=dict)  # reason -> how many
    request: dict[str, str] = field(default_factory=dict)  # what was asked for when it was fetched

    def part(self, split: str) -> str:
        """What sets the images of `split` apart from the whole dataset's, in words; empty where they are the whole."""
        n, whole, k = self.splits.get(split, 0), self.expected.get(split), len(self.class_names)
        present = self.present.get(split, k)
        classes = f"{present:,} of {k:,} classes" if present < k else ""
        if self.partial and not self.present:  # written before files said more
            classes = "some classes have no images"
        if whole is None or n == whole:
            return classes
        if n > whole:
            return f"{n:,} images where the official {split} split has {whole:,}"
        return ", ".join(filter(None, [f"{n:,} of {whole:,} {split} images", classes]))


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
        captions: int = 0,
        expected: Mapping[str, int] | None = None,
        oriented: bool = False,
        folders: Sequence[str] = (),
        request: Mapping[str, str] | None = None,
    ) -> None:
        self._info = DatasetInfo(
            name, tuple(class_names), {}, image_size, pixel_size, resize, template, source, licence,
            synonyms={word: tuple(words) for word, words in (synonyms or {}).items()},
            captions=captions, expected=dict(expected or {}), oriented=oriented, folders=tuple(folders),
            request=dict(request or {}),
        )  # fmt: skip
        self._path = path
        self._splits: dict[str, _SplitWriter] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(writing(stack.enter_context(replacing(self._path))))
            self._opened = stack.pop_all()
        return self

    def add(
        self, split: str, image: npt.NDArray[np.uint8] | bytes, label: int = -1, captions: Sequence[str] = ()
    ) -> None:
        """Append an image, (S, S, 3) in 0..255 or its encoded bytes, with its class, or (label -1) with its captions.

        Raises ValueError where it does not fit.
        """
        if self._info.class_names and not 0 <= label < len(self._info.class_names):
            raise ValueError(f"label {label} is not one of {len(self._info.class_names)} classes")
        if len(captions) != self._info.captions:
            raise ValueError(f"{len(captions)} captions where {self._info.captions} are expected")
        if split not in self._splits:
            group = self._file.create_group(split)
            self._splits[split] = _SplitWriter(group, self._info.image_size, self._info.captions)
        if self._splits[split].add(image, label, captions):
            self._file.check()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have images so far."""
        return tuple(self._splits)

    def count(self, split: str) -> int:
        """The images of `split` so far."""
        return self._splits[split].count if split in self._splits else 0

    def note(self, *, changes: Mapping[str, int], left_out: Mapping[str, Sequence[str]]) -> None:
        """What decoding changes in how many images, and which files were left out, by the reason."""
        self._info = replace(
            self._info,
            changes=dict(changes),
            left_out={reason: list(files[:LISTED]) for reason, files in left_out.items() if files},
            left_out_counts={reason: len(files) for reason, files in left_out.items() if files},
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, traceback)
            return
        with self._opened:
            self._finish()

    def _finish(self) -> None:
        digests = {split: writer.finish() for split, writer in sorted(self._splits.items())}
        seen = set().union(*(writer.classes for writer in self._splits.values()))
        info = {
            **asdict(self._info),
            "splits": {split: writer.count for split, writer in self._splits.items()},
            "present": {split: len(writer.classes) for split, writer in self._splits.items()},
            "checksum": content_checksum(self._info, digests),
            "partial": len(seen) < len(self._info.class_names),
        }
        finish(self._file, info=json.dumps(info))


class _SplitWriter:
    """One split: buffers images, appends them to the file, and hashes what passes."""

    def __init__(self, group: Any, image_size: int | None, captions: int) -> None:
        self.count, self.classes = 0, set[int]()
        self._images: list[npt.NDArray[np.uint8]] = []
        self._bytes = 0
        self._labels: list[int] = []
        self._size, self._digest = image_size, SplitDigest()
        # of what HDF5 keeps in its heap, where its own checksums of chunks do not reach
        self._crcs: list[int] = []
        self._caption_crcs: list[int] = []
        self._group = group
        shape = () if image_size is None else (image_size, image_size, 3)
        kind = h5py.vlen_dtype(np.uint8) if image_size is None else np.uint8
        # chunks of about 100 kB: a few-shot draw reads little more than it needs, a full pass few chunks
        rows = max(1, 100_000 // max(1, int(np.prod(shape)))) if shape else 16
        self._out = group.create_dataset(
            "images", (0, *shape), kind, maxshape=(None, *shape), chunks=(rows, *shape), fletcher32=bool(shape)
        )
        self._out_labels = new_array(group, "labels", np.zeros(0, np.int64), rows=4096)
        self._captions: list[Sequence[str]] = []
        self._out_captions = None
        if captions:
            self._out_captions = group.create_dataset(
                "captions", (0, captions), h5py.string_dtype(), maxshape=(None, captions), chunks=(256, captions)
            )

    def add(self, image: npt.NDArray[np.uint8] | bytes, label: int, captions: Sequence[str] = ()) -> bool:
        """Returns whether something was written to the file."""
        array = np.frombuffer(image, np.uint8) if isinstance(image, bytes) else np.array(image, order="C")
        expected = (len(array),) if self._size is None else (self._size, self._size, 3)
        if array.shape != expected or array.dtype != np.uint8:
            raise ValueError(f"an image {array.shape} of {array.dtype} where {expected} of uint8 is expected")
        self._digest.update(array, label, captions)
        if self._size is None:
            self._crcs.append(zlib.crc32(array.data))
        if captions:
            self._caption_crcs.append(crc_of_captions(captions))
        self._images.append(array)
        self._labels.append(label)
        self._captions.append(captions)
        if label >= 0:
            self.classes.add(label)
        self.count += 1
        self._bytes += array.nbytes
        if len(self._images) < BUFFER and self._bytes < BUFFER_BYTES:
            return False
        self._write()
        return True

    def finish(self) -> str:
        self._write()
        for name, crcs in (("images_crc32", self._crcs), ("captions_crc32", self._caption_crcs)):
            if crcs:
                new_array(self._group, name, np.array(crcs, np.uint32))
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
        if self._out_captions is not None:
            self._out_captions.resize(self.count, axis=0)
            self._out_captions[start:] = np.array([list(captions) for captions in self._captions], dtype=object)
        self._images, self._labels, self._captions, self._bytes = [], [], [], 0


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
        try:
            every = [[str(line) for line in lines] for lines in self._group(split)["captions"].asstr()[:]]
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
                f"{self.info.name} has no split called {split!r}", hint=f"it has {', '.join(self.info.splits)}"
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
        raise UserError(f"{path.stem} is not in the store", hint=f"mmcoa fetch {path.stem}") from None
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
    hint = f"remove it and type: mmcoa fetch {path.stem}"
    if isinstance(error, PermissionError):
        hint = "see that you may read it"
    return UserError(f"the dataset file {path} cannot be read: {error}", hint=hint)
