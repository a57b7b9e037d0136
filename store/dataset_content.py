"""What a dataset file holds, looked at before it is believed: its own account of itself, then every image and label."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5_limits import refuse_unbounded
from .keys import canonical_json
from .printable import is_printable

if TYPE_CHECKING:
    from .datasets import DatasetInfo

READ = 2**20  # bytes of images read at a time
SIZES = 100_000  # pixels of a side, captions of an image


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
    captions = _captions(group["captions"]) if info.captions else None
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


def _captions(array: Any) -> Iterator[list[str]]:
    left = array.file.id.get_filesize()
    for row in range(len(array)):
        lines = [str(line) for line in array.asstr()[row]]
        left = _take(left, sum(map(len, lines)))
        yield lines


def _take(left: int, size: int) -> int:
    """Many rows may refer to the same bytes."""
    if size > left:
        raise ValueError("its rows claim more than the file holds")
    return left - size


def parse_info(file: Any, text: str) -> dict[str, Any]:
    """The fields of the file's account of itself. Raises ValueError, KeyError or TypeError where it cannot be so."""
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("what it says of itself is no JSON object")
    _refuse_unprintable(said)
    for name in ("name", "template", "source", "licence", "checksum"):
        _require(isinstance(said.get(name, ""), str), name)
    for name in ("image_size", "resize", "pixel_size", "captions"):
        _require(said.get(name) is None or _count(said[name], SIZES), name)
    for name in ("image_size", "resize", "pixel_size"):
        _require(said.get(name) != 0, name)
    for name in ("splits", "expected", "present", "changes", "left_out_counts"):
        _require(all(_count(n, 2**62) for n in dict(said.get(name, {})).values()), name)
    names, folders = said["class_names"], said.get("folders", [])
    _require(_is_text(names), "class_names")
    _require(_is_text(folders) and len(folders) in (0, len(names)), "folders")
    _require(type(said.get("oriented", False)) is bool, "oriented")
    _require(all(map(_is_text, dict(said.get("left_out", {})).values())), "left_out")
    _require(_is_text(list(dict(said.get("request", {})).values())), "request")
    for split, n in said["splits"].items():
        _require_split(file, split, n, said["image_size"], said.get("captions", 0))
    return said


def _require_split(file: Any, split: str, n: int, size: int | None, captions: int) -> None:
    group = file[split] if "/" not in split else None
    if not isinstance(group, h5py.Group):
        raise ValueError(f"its split {split!r} is not there")
    images, labels = group["images"], group["labels"]
    shape = (n,) if size is None else (n, size, size, 3)
    kind = images.dtype if size is not None else h5py.check_vlen_dtype(images.dtype)
    if images.shape != shape or labels.shape != (n,) or kind != np.uint8 or labels.dtype != np.int64:
        raise ValueError(f"its split {split!r} is not what it says")
    if size is not None and images.chunks is None:
        raise ValueError(f"its split {split!r} is not kept in chunks")
    if captions and (
        group["captions"].shape != (n, captions) or h5py.check_string_dtype(group["captions"].dtype) is None
    ):
        raise ValueError(f"its split {split!r} has not the captions it says")


def _require(right: bool, name: str) -> None:
    if not right:
        raise ValueError(f"its {name!r} is not what it can be")


def _is_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _refuse_unprintable(value: object) -> None:
    if isinstance(value, str) and not is_printable(value):
        raise ValueError(f"it says something that does not print: {value[:40]!r}")
    if isinstance(value, dict):
        for name, entry in value.items():
            _refuse_unprintable(name)
            _refuse_unprintable(entry)
    if isinstance(value, list):
        for entry in value:
            _refuse_unprintable(entry)
