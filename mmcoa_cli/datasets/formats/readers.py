"""How the datasets' own archives are laid out, where neither folders of classes nor torchvision tell. A row of the
catalog names its reader.

torchvision's classes for CIFAR run pickles, those for STL-10 and Flowers take nothing but the official files (by MD5),
and the one for ImageNet unpacks 150 GB: these are read here. A reader for another dataset is a function from files to
samples, and one entry in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import MAX_IMAGE
from ..files import Files, is_image
from ..prompts import clean_name
from ..samples import Labels, Recognised, Sample
from .caption_lists import coco, is_coco
from .imagenet import imagenet, is_imagenet
from .plain_values import byte_rows, load_plain, matlab_value

MAX_BATCH = 512 << 20  # bytes of one file that holds many images; the largest there is has 221 MB
DIGITS_TEST = 50  # test images a class
_AGAIN = "it is incomplete; download it again"


@dataclass(frozen=True)
class Reader:
    """`recognises` tells a dataset's own archive from other layouts by its file names; `read` yields its samples."""

    recognises: Callable[[Files], bool]
    read: Callable[[Files, DatasetRow], Iterator[Sample]]


def digits(row: DatasetRow) -> Iterator[Sample]:
    """scikit-learn's 8x8 digits, grey 0..16, as 8-bit RGB. The last images of each class, by other writers than the
    first ones, are the test set."""
    images, labels = _load_digits()
    grey = np.rint(images * 255 / 16).astype(np.uint8)
    for label in range(len(row.class_names)):
        own = np.flatnonzero(labels == label)
        for place, index in enumerate(own):
            split = "train" if place < len(own) - DIGITS_TEST else "test"
            yield Sample(split, np.repeat(grey[index][..., None], 3, axis=2), label)


def _load_digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Images (n, 8, 8) and labels, from scikit-learn's file, as its `load_digits` reads it; that takes two seconds to
    load."""
    found = find_spec("sklearn")
    path = Path(found.origin if found and found.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        from sklearn.datasets import load_digits

        data = load_digits()
        return data.images, data.target
    table = np.loadtxt(path, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


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
                yield Sample(split, np.ascontiguousarray(image), label)


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
    return {path.rpartition("/")[2]: path for path in files.sizes}


def _is_stl10(files: Files) -> bool:
    return "test_X.bin" in _by_name(files)


def stl10(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """STL-10's binary files: images of 96 x 96 pixels, planes first, columns before rows; labels from 1."""
    paths, side = _by_name(files), row.pixel_size
    for split in ("train", "test"):
        if f"{split}_X.bin" not in paths or f"{split}_y.bin" not in paths:
            continue
        data = np.frombuffer(files.read(paths[f"{split}_X.bin"], at_most=MAX_BATCH), np.uint8)
        labels = np.frombuffer(files.read(paths[f"{split}_y.bin"], at_most=MAX_BATCH), np.uint8).astype(int) - 1
        if len(data) != len(labels) * 3 * side * side or not ((labels >= 0) & (labels < len(row.class_names))).all():
            raise UserError(f"{split}_X.bin in {files.title} has not one label for each image", hint=_AGAIN)
        images = data.reshape(-1, 3, side, side).transpose(0, 3, 2, 1)
        for image, label in zip(images, labels.tolist(), strict=True):
            yield Sample(split, np.ascontiguousarray(image), label)


def _is_tinyimagenet(files: Files) -> bool:
    return "val_annotations.txt" in _by_name(files)


def tinyimagenet(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """TinyImageNet's archive: `train/<wnid>/images/`, and `val/images/` with `val_annotations.txt`. Its test images
    have no labels; the validation images are the test set."""
    labels, listing = Labels(row), _by_name(files)["val_annotations.txt"]
    folder = listing.rpartition("/")[0]
    top = f"{folder.rpartition('/')[0]}/".lstrip("/")
    for path in files.sizes:
        if path.startswith(f"{top}train/") and is_image(path):
            label = labels.of(path[len(top) :].split("/")[1], title=files.title)
            if label is not None:
                yield Sample("train", files.image(path), label)
    for line in files.read(listing, at_most=MAX_IMAGE).decode(errors="replace").splitlines():
        name, _, rest = line.partition("\t")
        path, label = f"{folder}/images/{name}".lstrip("/"), labels.of(rest.partition("\t")[0], title=files.title)
        if path in files.sizes and label is not None:
            yield Sample("test", files.image(path), label)


def _is_flowers(files: Files) -> bool:
    return _by_name(files).keys() >= {"imagelabels.mat", "setid.mat"} and any(map(is_image, files.sizes))


def flowers(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """Flowers-102: `jpg/image_00001.jpg` and so on; `imagelabels.mat` (from 1), `setid.mat` (the images of a split)."""
    paths = _by_name(files)
    labels = _whole_numbers(files, paths["imagelabels.mat"], "labels")
    for split, name in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        for number in sorted(_whole_numbers(files, paths["setid.mat"], name)):
            path = paths.get(f"image_{number:05d}.jpg")
            if path is not None and 0 < number <= len(labels) and 0 < labels[number - 1] <= len(row.class_names):
                yield Sample(split, files.image(path), labels[number - 1] - 1)


def _whole_numbers(files: Files, path: str, name: str) -> list[int]:
    try:
        return [int(number) for number in np.asarray(matlab_value(files, path, name)).ravel()]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} in {files.title} holds no numbers in {name}", hint=_AGAIN) from error


EMBEDDED: dict[str, Callable[[DatasetRow], Iterator[Sample]]] = {"digits": digits}
READERS: dict[str, Reader] = {
    "cifar": Reader(_is_cifar, cifar),
    "stl10": Reader(_is_stl10, stl10),
    "tinyimagenet": Reader(_is_tinyimagenet, tinyimagenet),
    "flowers": Reader(_is_flowers, flowers),
    "imagenet": Reader(is_imagenet, imagenet),
    "coco": Reader(is_coco, coco),
}


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of a dataset's own archive, by the reader that its row names."""
    reader = READERS.get(row.reader)
    if reader is None or not reader.recognises(files):
        return None
    return Recognised(row, reader.read(files, row), files.total, None, files.left_out)
