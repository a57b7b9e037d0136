"""What a dataset file holds: the checksum of every image, label and caption, as written and as read again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .dataset_captions import read_captions
from .dataset_info import DatasetInfo
from .hdf5_limits import refuse_unbounded
from .keys import canonical_json

READ = 2**20  # bytes of images read at a time


def content_checksum(info: DatasetInfo, splits: Mapping[str, str]) -> str:
    """The checksum of a dataset: SHA-256 over its class names, the digests of its splits, and how they are decoded."""
    content: dict[str, Any] = {"class_names": info.class_names, "splits": splits}
    if info.oriented and info.image_size is None:  # the same bytes become other pixels
        content["oriented"] = True
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


class SplitDigest:
    """SHA-256 over the images of a split with their labels and captions, in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, image: npt.NDArray[np.uint8], label: int, captions: Sequence[str] = ()) -> None:
        self._digest.update(len(image).to_bytes(8, "little") + label.to_bytes(8, "little", signed=True))
        self._digest.update(image.reshape(-1).data)
        if captions:
            self._digest.update(canonical_json(list(captions)).encode())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def crc_of_captions(captions: Sequence[str]) -> int:
    return zlib.crc32(canonical_json(list(captions)).encode())


def compute_checksum(file: Any, info: DatasetInfo) -> str:
    """The checksum of what is there. Raises ValueError for labels that are no class, and for more than the file holds.

    Memory is bounded by the largest image, time by the size of the file.
    """
    refuse_unbounded(file)
    return content_checksum(info, {split: _digest(file[split], info, split) for split in info.splits})


def _digest(group: Any, info: DatasetInfo, split: str) -> str:
    digest, labels = SplitDigest(), group["labels"][:]
    lowest, highest = (0, len(info.class_names) - 1) if info.class_names else (-1, -1)
    if len(labels) and not (labels.min() >= lowest and labels.max() <= highest):
        raise ValueError(f"labels of its split {split!r} are of no class")
    captions = read_captions(group, len(labels)) if info.captions else None
    for image, label in zip(_images(group["images"]), labels, strict=True):
        digest.update(image, int(label), next(captions) if captions else ())
    return digest.hexdigest()


def _images(array: Any) -> Iterator[npt.NDArray[np.uint8]]:
    if len(array.shape) > 1:
        step = max(1, READ // max(1, int(np.prod(array.shape[1:])) * array.chunks[0])) * array.chunks[0]
        for start in range(0, len(array), step):
            yield from array[start : start + step]
        return
    left = array.file.id.get_filesize()
    for row in range(len(array)):
        image = array[row]
        left = _take(left, len(image))
        yield image


def _take(left: int, size: int) -> int:
    """Many rows may refer to the same bytes."""
    if size > left:
        raise ValueError("its rows claim more than the file holds")
    return left - size
