"""ImageNet-1k in the forms in which it lies about: the official tars, or folders whose validation images are not sorted
into classes. (`train/<wnid>/` with `val/<wnid>/` is a layout like any other: `image_folders.py`.)

The tars are read in place, class after class: nothing of their 150 GB is unpacked.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

import numpy as np

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import MAX_IMAGE
from ..files import Files, is_image
from ..samples import Labels, Sample
from .plain_values import matlab_value

TRAIN_TAR, VAL_TAR, DEVKIT_TAR = (
    f"ILSVRC2012_{part}" for part in ("img_train.tar", "img_val.tar", "devkit_t12.tar.gz")
)  # fmt: skip
TRUTH, KAGGLE = "ILSVRC2012_validation_ground_truth.txt", "LOC_val_solution.csv"
_CLASS_TAR = re.compile(r"(^|/)n\d{8}\.tar$")
_LOOSE_VAL = re.compile(
    r"(^|/)(?!n\d{8}/)[^/]+/ILSVRC2012_val_\d{8}\.JPEG$|^ILSVRC2012_val_\d{8}\.JPEG$", re.IGNORECASE
)


def is_imagenet(files: Files) -> bool:
    """Whether there is a tar of ImageNet, or a validation image in a folder that is no class."""
    return any(_CLASS_TAR.search(p) or _LOOSE_VAL.search(p) or p.endswith((TRAIN_TAR, VAL_TAR)) for p in files.sizes)


def imagenet(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """The training images of `ILSVRC2012_img_train.tar` (a tar a class) or of class folders, then the validation images
    as the test set, with their labels from the development kit or from the CSV of the copy on Kaggle."""
    with _inner_or_all(files, TRAIN_TAR) as train:
        yield from _train(train, row)
    with _inner_or_all(files, VAL_TAR) as val:
        loose = [path for path in val.sizes if _LOOSE_VAL.search(path)]
        truth = _truth(files, row) if loose else {}
        for path in loose:
            label = truth.get(PurePosixPath(path).stem)
            if label is None:
                raise UserError(f"{path} in {files.title} has no label", hint=f"put {DEVKIT_TAR} beside it")
            yield Sample("test", val.image(path), label)


def _train(files: Files, row: DatasetRow) -> Iterator[Sample]:
    labels = Labels(row)
    for path in files.sizes:
        if _CLASS_TAR.search(path):
            label = labels.of(PurePosixPath(path).stem, title=files.title)
            with _inner(files, path) as images:
                for name in images.sizes if label is not None else ():
                    yield Sample("train", images.image(name), label or 0)
        elif is_image(path) and not _LOOSE_VAL.search(path) and "/" in path:
            label = labels.find(path.split("/")[-2])
            if label is not None:
                yield Sample("train", files.image(path), label)


def _truth(files: Files, row: DatasetRow) -> dict[str, int]:
    """The label of each validation image. Raises UserError where nothing gives them."""
    labels = Labels(row)
    if (path := _find(files, KAGGLE)) is not None:
        text = files.read(path, at_most=MAX_IMAGE).decode(errors="replace")
        lines = [line for line in csv.reader(io.StringIO(text)) if len(line) == 2]
        return _known({image: labels.find(prediction.split(" ")[0]) for image, prediction in lines})
    if _find(files, DEVKIT_TAR) is None and _find(files, TRUTH) is None:
        raise UserError(f"{files.title} has validation images without labels", hint=f"put {DEVKIT_TAR} beside them")
    with _inner_or_all(files, DEVKIT_TAR) as kit:
        meta, numbers = _find(kit, "meta.mat"), _find(kit, TRUTH)
        if meta is None or numbers is None:
            raise UserError(f"{kit.title} lacks {TRUTH} or meta.mat", hint="it is incomplete; download it again")
        # the kit numbers the classes in an order of its own
        synsets, truth = np.atleast_1d(matlab_value(kit, meta, "synsets")), kit.read(numbers, at_most=MAX_IMAGE).split()
        try:
            of_number = {int(one["ILSVRC2012_ID"]): labels.find(str(one["WNID"])) for one in synsets}
            return _known({f"ILSVRC2012_val_{n:08d}": of_number.get(int(number)) for n, number in enumerate(truth, 1)})
        except (TypeError, ValueError, LookupError) as error:
            raise UserError(f"the labels in {kit.title} are damaged: {error}", hint="download it again") from error


def _known(labels: Mapping[str, int | None]) -> dict[str, int]:
    return {name: label for name, label in labels.items() if label is not None}


def _find(files: Files, name: str) -> str | None:
    return next((path for path in files.sizes if f"/{path}".endswith(f"/{name}")), None)


@contextmanager
def _inner_or_all(files: Files, name: str) -> Iterator[Files]:
    """The files of the archive called `name`, or `files` where there is none."""
    path = _find(files, name)
    if path is None:
        yield files
        return
    with _inner(files, path) as inside:
        yield inside


@contextmanager
def _inner(files: Files, path: str) -> Iterator[Files]:
    if files.inner is None:
        raise UserError(f"{path} in {files.title} cannot be opened", hint="give --from the folder it lies in")
    with files.inner(path) as inside:
        yield inside
