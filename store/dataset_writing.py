"""Writing a dataset's file: image by image, hashed on the way, and in its place only once it is whole."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from .dataset_content import SplitDigest, content_checksum, write_captions
from .dataset_info import DatasetInfo
from .files import replacing
from .hdf5 import finish, new_array, writing

BUFFER, BUFFER_BYTES = 256, 32 << 20  # images held in memory before they are written
LISTED = 1000  # names of left out files that are kept for each reason


class DatasetWriter:
    """Writes a dataset image by image; it takes its place at `path` when the `with` block ends without error."""

    def __init__(self, path: Path, **said: Any) -> None:
        """`said` are fields of `DatasetInfo`; what is counted is filled in at the end. Without classes each image has
        captions."""
        self._path, self.info = path, DatasetInfo(**said)
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
        if self.info.class_names and not 0 <= label < len(self.info.class_names):
            raise ValueError(f"label {label} is not one of {len(self.info.class_names)} classes")
        if bool(captions) == bool(self.info.class_names):
            raise ValueError(f"{len(captions)} captions of an image {'with' if captions else 'without'} a class")
        if split not in self._splits:
            group = self._file.create_group(split)
            self._splits[split] = _SplitWriter(group, self.info.image_size)
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
        self.info = replace(
            self.info,
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
        self.info = replace(
            self.info,
            splits={split: writer.count for split, writer in self._splits.items()},
            present={split: len(writer.classes) for split, writer in self._splits.items()},
            captions=max((writer.most_captions for writer in self._splits.values()), default=0),
            checksum=content_checksum(self.info, digests),
            partial=len(seen) < len(self.info.class_names),
        )
        finish(self._file, info=json.dumps(asdict(self.info)))


class _SplitWriter:
    """One split: buffers images, appends them to the file, and hashes what passes."""

    def __init__(self, group: Any, image_size: int | None) -> None:
        self.count, self.classes = 0, set[int]()
        self._images: list[npt.NDArray[np.uint8]] = []
        self._bytes = 0
        self._labels: list[int] = []
        self._size, self._digest = image_size, SplitDigest()
        # of what HDF5 keeps in its heap, where its own checksums of chunks do not reach
        self._crcs: list[int] = []
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

    @property
    def most_captions(self) -> int:
        return max(map(len, self._captions), default=0)

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
            self._captions.append(captions)
        self._images.append(array)
        self._labels.append(label)
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
        if self._crcs:
            new_array(self._group, "images_crc32", np.array(self._crcs, np.uint32))
        if self._captions:
            write_captions(self._group, self._captions)
        return self._digest.hexdigest()

    def _write(self) -> None:
        if not self._images:
            return
        start = self.count - len(self._images)
        self._out.resize(self.count, axis=0)
        self._out_labels.resize(self.count, axis=0)
        if self._size is None:
            rows = np.empty(len(self._images), self._out.dtype)
            for place, image in enumerate(self._images):
                rows[place] = image
            self._out.write_direct(rows, dest_sel=np.s_[start:])  # a row at a time takes seven times as long
        else:
            self._out[start:] = np.stack(self._images)
        self._out_labels[start:] = self._labels
        self._images, self._labels, self._bytes = [], [], 0
