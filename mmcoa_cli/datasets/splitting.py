"""`fetch --train-fraction`: images that come without splits, divided into train and test class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from store.dataset_info import DatasetInfo
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.errors import UserError

from ..randomness import shuffled
from .sampling import Indices

BLOCK = 256  # images in memory at a time


@dataclass(frozen=True)
class Fraction:
    """Of the images of each class, this part is for training, drawn by a seed."""

    train: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.train < 1:
            raise UserError(f"--train-fraction {self.train:g} is not between 0 and 1", hint="--train-fraction 0.8")

    def __str__(self) -> str:
        """As the dataset's file has it."""
        return f"{self.train:g}, by seed {self.seed}"


def divide(whole: Path, target: Path, fraction: Fraction, *, left_out: Mapping[str, Sequence[str]]) -> None:
    """Write the images of `whole`, a dataset of one split, into `target` as train and test, each in its order.

    Raises UserError for a dataset that has splits already, or captions, or a class of a single image.
    """
    with Dataset.open(whole) as dataset:
        split = _only_split(dataset.info)
        labels = dataset.labels(split)
        in_train = for_training(labels, fraction, names=dataset.info.class_names)
        with _writer(target, dataset.info) as out:
            for start in range(0, len(labels), BLOCK):
                block = np.arange(start, min(start + BLOCK, len(labels)))
                for row, image in zip(block, dataset.images(split, block), strict=True):
                    out.add("train" if in_train[row] else "test", image, int(labels[row]))
            out.note(changes=dataset.info.changes, left_out=left_out)


def for_training(labels: Indices, fraction: Fraction, *, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which images are for training: of each class the whole number nearest to that part, and at least one; and at
    least one is not.

    Raises UserError for a class of a single image.
    """
    order, chosen = shuffled(np.arange(len(labels)), fraction.seed), np.zeros(len(labels), dtype=bool)
    for label, count in _counts(labels):
        if count < 2:
            raise UserError(
                f"the class {names[label]} has a single image, which cannot be in train and in test",
                hint="add images to it, or leave the class out",
            )
        of_class = order[labels[order] == label]
        chosen[of_class[: min(max(round(fraction.train * count), 1), count - 1)]] = True
    return chosen


def _counts(labels: Indices) -> Iterator[tuple[int, int]]:
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        yield int(label), int(count)


def _only_split(info: DatasetInfo) -> str:
    if info.captions:
        raise UserError(f"{info.name} has captions and no classes to divide", hint="leave out --train-fraction")
    if len(info.splits) != 1:
        raise UserError(
            f"{info.name} has the splits {', '.join(info.splits)} already", hint="leave out --train-fraction"
        )
    return next(iter(info.splits))


def _writer(target: Path, info: DatasetInfo) -> DatasetWriter:
    return DatasetWriter(
        target, name=info.name, class_names=info.class_names, pixel_size=info.pixel_size, resize=info.resize,
        template=info.template, source=info.source, licence=info.licence, synonyms=info.synonyms,
        image_size=info.image_size, oriented=info.oriented, folders=info.folders, request=info.request,
    )  # fmt: skip
