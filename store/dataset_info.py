"""What a dataset file says of itself, read with care: it may be of anybody."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from .dataset_content import require_captions
from .printable import is_printable

SIZES = 100_000  # pixels of a side, captions of an image


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset file says of itself. Sizes in pixels; `image_size` is None where images vary in size."""

    name: str
    class_names: tuple[str, ...]
    pixel_size: int
    resize: int | None
    template: str
    source: str
    image_size: int | None = None
    splits: dict[str, int] = field(default_factory=dict)
    licence: str = ""
    checksum: str = ""
    partial: bool = False  # some classes have no image
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    captions: int = 0  # the most captions of an image, of a dataset without classes
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

    @property
    def parts(self) -> dict[str, str]:
        """`part` of each split that is not the whole."""
        return {split: part for split in self.splits if (part := self.part(split))}


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
    if captions:
        require_captions(group, n, captions)


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
