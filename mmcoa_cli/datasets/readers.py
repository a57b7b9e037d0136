"""How the datasets' own archives are laid out. A row of the catalog names its reader.

A reader for another dataset is a function from files to samples, and one entry in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from store.errors import UserError

from ..catalog import DatasetRow
from ..prompts import clean_name
from .archives import Files
from .image_folders import Sample
from .plain_pickles import byte_rows, load_plain

MAX_BATCH = 512 << 20  # bytes of one CIFAR batch file; the largest there is has 155 MB
DIGITS_TEST = 50  # test images a class


@dataclass(frozen=True)
class Reader:
    """`recognises` tells a dataset's own archive from other layouts by its file names; `read` yields its samples."""

    recognises: Callable[[Files], bool]
    read: Callable[[Files, DatasetRow], Iterator[Sample]]


def digits(row: DatasetRow) -> Iterator[Sample]:
    """scikit-learn's 8x8 digits, grey 0..16, as 8-bit RGB. The last images of each class, by other writers than the
    first ones, are the test set."""
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.rint(data.images * 255 / 16).astype(np.uint8)
    for label in range(len(row.class_names)):
        own = np.flatnonzero(data.target == label)
        for place, index in enumerate(own):
            split = "train" if place < len(own) - DIGITS_TEST else "test"
            yield split, np.repeat(grey[index][..., None], 3, axis=2), label


def _is_cifar(files: Files) -> bool:
    names = _by_name(files).keys()
    return "batches.meta" in names or names >= {"meta", "train", "test"}


def cifar(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """CIFAR-10's or CIFAR-100's python archive: pickles of rows of 3072 bytes, planes first, with their labels.

    Raises UserError for a pickle that asks for more than arrays, and for classes other than the row's.
    """
    paths = _by_name(files)
    _require_classes(files, paths, row)
    train = [name for name in paths if name.startswith("data_batch_")] or ["train"]
    for split, names in (("train", train), ("test", ["test_batch" if "test_batch" in paths else "test"])):
        for name in names:
            batch = _batch(files, paths, name)
            rows = byte_rows(batch.get(b"data"), width=3 * row.pixel_size**2, title=name)
            labels = _labels(batch, len(rows), classes=len(row.class_names), title=name)
            images = rows.reshape(-1, 3, row.pixel_size, row.pixel_size).transpose(0, 2, 3, 1)
            for image, label in zip(images, labels, strict=True):
                yield split, np.ascontiguousarray(image), label


def _require_classes(files: Files, paths: Mapping[str, str], row: DatasetRow) -> None:
    meta = _batch(files, paths, "batches.meta" if "batches.meta" in paths else "meta")
    names: Any = meta.get(b"label_names", meta.get(b"fine_label_names"))
    try:
        found = [clean_name(name.decode() if isinstance(name, bytes) else name) for name in names]
    except (TypeError, AttributeError, UnicodeDecodeError):
        found = []
    if found != [clean_name(name) for name in row.class_names]:
        raise UserError(f"the classes in {files.title} are not those of {row.name}", hint="is it another dataset?")


def _labels(batch: dict[Any, Any], count: int, *, classes: int, title: str) -> list[int]:
    labels: Any = batch.get(b"labels", batch.get(b"fine_labels"))
    whole = isinstance(labels, list) and len(labels) == count
    if not whole or not all(type(label) is int and 0 <= label < classes for label in labels):
        raise UserError(f"{title} has no label in 0..{classes - 1} for each image", hint="download it again")
    return list(labels)


def _batch(files: Files, paths: Mapping[str, str], name: str) -> dict[Any, Any]:
    if name not in paths:
        raise UserError(f"{files.title} lacks {name}", hint="it is incomplete; download it again")
    content = load_plain(files.read(paths[name], at_most=MAX_BATCH), title=name)
    if not isinstance(content, dict):
        raise UserError(f"{name} in {files.title} holds no dictionary", hint="download it again")
    return content


def _by_name(files: Files) -> dict[str, str]:
    return {PurePosixPath(path).name: path for path in files.sizes}


EMBEDDED: dict[str, Callable[[DatasetRow], Iterator[Sample]]] = {"digits": digits}
READERS: dict[str, Reader] = {"cifar": Reader(_is_cifar, cifar)}
