"""What was recognised, decoded and written into the store; and what of it cannot be used, all of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.markup import escape

from store.datasets import Dataset, DatasetWriter
from store.errors import UserError

from ..catalog import DatasetRow
from ..console import progress, say
from .decoding import Encoded, prepared
from .downloads import require_space
from .layouts import Recognised

NAMED = 5  # broken images that an error names


def write_dataset(
    found: Recognised,
    target: Path,
    *,
    origin: str,
    expected: Mapping[str, int],
    whole: bool = False,
    skip_broken: bool = False,
) -> None:
    """Write what was found. Raises UserError for images that cannot be used, unless they are left out (`skip_broken`),
    and where it is to be `whole` and is not as many images as `expected`."""
    row = found.row
    require_space(found.bytes, folder=target.parent, name=row.name)
    total = found.count or sum(row.splits.values()) or None
    broken = _Broken(row)
    with _writer(found.row, target, origin, expected) as out, progress(row.name, total=total, unit="images") as task:
        for split, image, label, captions in found.samples:
            usable = broken.usable(image, split)
            if usable is not None:
                out.add(split, usable, label, captions)
            task.advance()
        if broken.count and not skip_broken:
            raise broken.error()
        counts = {split: out.count(split) for split in {*expected, *out.splits}}
        if not any(counts.values()):
            raise broken.error() if broken.count else _empty(row, origin)
        if whole and {split: n + broken.splits.get(split, 0) for split, n in counts.items()} != dict(expected):
            raise UserError(f"{origin} holds {counts} images, {row.name} has {dict(expected)}", hint="report it")
    if broken.count:
        say(escape(f"left out, as they cannot be used: {broken}"))
    _say_part(target)


@dataclass
class _Broken:
    """The images that cannot be used: how many of each split, and why the first few."""

    row: DatasetRow
    splits: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.splits.values())

    def usable(self, image: npt.NDArray[np.uint8] | Encoded, split: str) -> npt.NDArray[np.uint8] | bytes | None:
        """The image as the store keeps it, None for one that cannot be used."""
        if not isinstance(image, Encoded):
            return image
        try:
            return prepared(image, self.row)
        except UserError as error:
            self.splits[split] = self.splits.get(split, 0) + 1
            if len(self.reasons) < NAMED:
                self.reasons.append(str(error))
            return None

    def __str__(self) -> str:
        more = self.count - len(self.reasons)
        return "; ".join(self.reasons) + (f"; and {more:,} more" if more else "")

    def error(self) -> UserError:
        if self.count == 1:
            return UserError(str(self), hint="replace it by a whole one, or leave it out: --skip-broken")
        what = f"{self.count:,} images of {self.row.name} cannot be used: {self}"
        return UserError(what, hint="replace them by whole ones, or leave them out: --skip-broken")


def _writer(row: DatasetRow, target: Path, origin: str, expected: Mapping[str, int]) -> DatasetWriter:
    return DatasetWriter(
        target,
        name=row.name,
        class_names=row.class_names,
        pixel_size=row.pixel_size,
        resize=row.resize,
        template=row.template,
        source=origin,
        licence=row.licence,
        synonyms=row.synonyms,
        image_size=row.pixel_size if row.resize is None else None,
        captions=row.captions,
        expected=expected,
    )


def _empty(row: DatasetRow, origin: str) -> UserError:
    return UserError(f"{origin} holds no image of {row.name}", hint="is it the right folder or archive?")


def _say_part(target: Path) -> None:
    with Dataset.open(target) as dataset:
        parts = [f"{split}: {part}" for split in dataset.info.splits if (part := dataset.info.part(split))]
        if parts:
            name, what = dataset.info.name, "; ".join(parts)
            say(escape(f"{name} is not the whole dataset, and every result over it will say so ({what})"))
