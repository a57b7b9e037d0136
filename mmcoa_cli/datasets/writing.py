"""What was recognised, decoded and written into the store; and what of it cannot be used, all of it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from store.dataset_info import DatasetInfo
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.errors import UserError
from store.printable import visible

from ..catalog import DatasetRow
from ..names import require_printable
from ..settings import require_space
from ..terminal.console import progress, say
from .decoders import path_of, prepared_ahead
from .decoding import Prepared
from .library import BROKEN
from .request import FetchRequest
from .samples import Recognised, Sample
from .sampling import Fraction, for_training
from .summary import in_words

NAMED = 5  # broken images that an error names
BLOCK = 256  # images in memory at a time


def write_dataset(
    found: Recognised,
    target: Path,
    *,
    origin: str,
    expected: Mapping[str, int],
    asked: FetchRequest,
    whole: bool = False,
) -> dict[str, list[str]]:
    """Write what was found. Returns the files that are left out, by the reason.

    Raises UserError for images that cannot be used, unless it is asked for to leave them out, and where it is to be
    `whole` and is not as many images as `expected`.
    """
    row = found.row
    for class_name in row.class_names:
        require_printable(class_name, "the class name")
    require_space(found.bytes, folder=target.parent, name=row.name)
    total = found.count or sum(row.splits.values()) or None
    broken, changes = _Broken(row), Counter[str]()
    writer = DatasetWriter(target, **_said(row, origin, expected, asked.record()))
    images, shown = prepared_ahead(found.samples, row), progress(row.name, total=total, unit="images")
    with writer as out, closing(images), shown as task:
        for sample, done in images:
            if isinstance(done, Prepared):
                out.add(sample.split, done.image, sample.label, sample.captions)
                changes.update(done.changes)
            else:
                broken.add(sample, done)
            task.advance()
        if broken.count and not asked.skip_broken:
            raise broken.error()
        counts = {split: out.count(split) for split in {*expected, *out.splits}}
        if not any(counts.values()):
            empty = UserError(f"{origin} holds no image of {row.name}", hint="is it the right folder or archive?")
            raise broken.error() if broken.count else empty
        if whole and {split: n + broken.splits.get(split, 0) for split, n in counts.items()} != dict(expected):
            raise UserError(f"{origin} holds {counts} images, {row.name} has {dict(expected)}", hint="report it")
        left_out = {why: [*map(visible, paths)] for why, paths in {**found.left_out, BROKEN: broken.paths}.items()}
        out.note(changes=changes, left_out=left_out)
    if broken.count:
        say(f"left out, as they cannot be used: {broken}")
    if parts := out.info.parts:
        say(f"{row.name} is not the whole dataset, and every result over it will say so ({in_words(parts)})")
    return left_out


@dataclass
class _Broken:
    """The images that cannot be used: which, how many of each split, and why the first few."""

    row: DatasetRow
    paths: list[str] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    errors: list[UserError] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.paths)

    def add(self, sample: Sample, error: UserError) -> None:
        self.paths.append(path_of(sample))
        self.splits[sample.split] += 1
        if len(self.errors) < NAMED:
            self.errors.append(error)

    def __str__(self) -> str:
        more = self.count - len(self.errors)
        return "; ".join(map(str, self.errors)) + (f"; and {more:,} more" if more else "")

    def error(self) -> UserError:
        hints = dict.fromkeys(error.hint for error in self.errors if error.hint)
        what = f"{self.count:,} images of {self.row.name} cannot be used: {self}" if self.count > 1 else str(self)
        return UserError(what, hint="; ".join([*hints, "or leave out what cannot be used: --skip-broken"]))


def _said(row: DatasetRow, origin: str, expected: Mapping[str, int], request: Mapping[str, str]) -> dict[str, Any]:
    """What the dataset's file says of itself, before anything is counted."""
    same = ("name", "class_names", "pixel_size", "resize", "template", "licence", "synonyms", "oriented")
    return {
        **{name: getattr(row, name) for name in same},
        "source": visible(origin),
        "image_size": row.pixel_size if row.resize is None else None,
        "expected": expected,
        "folders": [*map(visible, row.folders)],
        "request": request,
    }


def divide(whole: Path, target: Path, fraction: Fraction, *, left_out: Mapping[str, Sequence[str]]) -> None:
    """Write the images of `whole`, a dataset of one split, into `target` as train and test, each in its order.

    Raises UserError for a dataset that has splits already, or captions, or a class of a single image.
    """
    with Dataset.open(whole) as dataset:
        split = _only_split(dataset.info)
        labels = dataset.labels(split)
        in_train = for_training(labels, fraction, names=dataset.info.class_names)
        with DatasetWriter(target, **vars(dataset.info)) as out:
            for start in range(0, len(labels), BLOCK):
                block = np.arange(start, min(start + BLOCK, len(labels)))
                for row, image in zip(block, dataset.images(split, block), strict=True):
                    out.add("train" if in_train[row] else "test", image, int(labels[row]))
            out.note(changes=dataset.info.changes, left_out=left_out)


def _only_split(info: DatasetInfo) -> str:
    if info.captions:
        raise UserError(f"{info.name} has captions and no classes to divide", hint="leave out --train-fraction")
    if len(info.splits) != 1:
        raise UserError(
            f"{info.name} has the splits {', '.join(info.splits)} already", hint="leave out --train-fraction"
        )
    return next(iter(info.splits))
