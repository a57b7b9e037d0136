"""What every layout of a dataset is read into: images, not decoded yet, with their split and their class or
captions; and what names say of those."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from store.errors import UserError
from store.printable import is_printable, visible

from ..catalog import AS_MANY, DatasetRow
from .decoding import Encoded
from .prompts import clean_name

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
LONGEST, MOST = 10_000, 1_000  # characters of a caption, captions of an image
CAPTIONS = ("captions", "caption", "sentences", "text")
_SPACE = re.compile(r"[\t\n\v\f\r]+")
_TEXT = "a caption is a text, and those of one image are a list of texts"


class Sample(NamedTuple):
    """One image: pixels (S, S, 3) in 0..255, or a file still to be decoded (before the next sample is asked for); its
    class, or -1 and its captions."""

    split: str
    image: npt.NDArray[np.uint8] | Encoded
    label: int = -1
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognised:
    """`row` with the classes and image sizes of the data; `bytes` of it on the disk; `count` images, None where that is
    only known at the end; `left_out` says which files are no part of it, by the reason (complete once all samples are
    read)."""

    row: DatasetRow
    samples: Iterator[Sample]
    bytes: int
    count: int | None
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Labels:
    """The labels of a row's classes, by their names and by the names of their folders."""

    def __init__(self, row: DatasetRow) -> None:
        self._row = row
        self._names = {clean_name(name): label for label, name in enumerate(row.class_names)}
        self._folders = {clean_name(name): label for label, name in enumerate(row.folders)}
        self._left_out = frozenset(map(clean_name, row.not_classes))

    def find(self, *names: str) -> int | None:
        """The label of the first of `names` that is a class's folder or name."""
        cleaned = [clean_name(name) for name in names]
        known = [*(self._folders.get(name) for name in cleaned), *(self._names.get(name) for name in cleaned)]
        return next((label for label in known if label is not None), None)

    def is_left_out(self, name: str) -> bool:
        """Whether it is one of the folders that the row says are no classes."""
        return clean_name(name) in self._left_out

    def of(self, *names: str, title: str) -> int | None:
        """`find`, None for what is no class. Raises UserError for a name that the row does not know."""
        label = self.find(*names)
        if label is None and not any(map(self.is_left_out, names)):
            known = ", ".join(self._row.class_names[:5])
            raise UserError(
                f"{title}: {names[-1]!r} is no class of {self._row.name}", hint=f"its classes are {known} ..."
            )
        return label

    def of_order(self, names: list[str], *, title: str) -> list[int | None]:
        """The labels of another list of all classes: by name where names are known, else by place.

        Raises UserError for a list of another length whose names are unknown, and for one in another order.
        """
        found = [None if self.is_left_out(name) else self.find(name) for name in names]
        unknown = [n for n, label in zip(names, found, strict=True) if label is None and not self.is_left_out(n)]
        if not unknown:
            return found
        in_place = all(label in (None, place) for place, label in enumerate(found))
        if len(names) == len(self._row.class_names) and in_place:
            return list(range(len(names)))
        raise UserError(f"{title}: {unknown[0]!r} is no class of {self._row.name}", hint="is it another dataset?")


def splits_in_name(name: str) -> set[str]:
    """The splits whose names are words of `name`: {"train"} for "birds_train-00000-of-00001.parquet"."""
    return {SPLITS[word] for word in re.split(r"[\-_. ]", name.lower()) if word in SPLITS}


def split_in_name(name: str) -> str | None:
    """The one split that `name` says, None where that is none. Raises UserError for two."""
    said = sorted(splits_in_name(name))
    if len(said) > 1:
        raise UserError(f"{name} names the splits {' and '.join(said)}", hint="let its name say one of them")
    return said[0] if said else None


def split_of_path(folders: Sequence[str], name: str = "") -> str | None:
    """The split that a shard's own name says, else the innermost of its folders that says one.

    Raises UserError where the name says another than the folder that it lies in.
    """
    own = split_in_name(name)
    above = next((said for folder in reversed(folders) if (said := split_in_name(folder))), None)
    exact = {SPLITS[folder.lower()] for folder in folders if folder.lower() in SPLITS}
    if own and exact - {own}:
        place = "/".join((*folders, name))
        raise UserError(f"{place}: is it {own} or {' and '.join(sorted(exact))}?", hint="rename the file or the folder")
    return own or above


def without_splits(folders: Sequence[str]) -> str:
    """The path of `folders` without those that say a split."""
    return "/".join(folder for folder in folders if not splits_in_name(folder))


def natural(name: str) -> tuple[object, ...]:
    """A key that sorts class2 before class10."""
    parts = re.split(r"([0-9]+)", name)
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    return (*(piece for pair in zip(parts[::2], [*numbers, (-1, "")], strict=True) for piece in pair), name)


def is_own(row: DatasetRow) -> bool:
    """Whether it is a dataset of one's own, of which nothing says yet that it has classes or captions."""
    return not (row.class_names or row.captions or row.splits)


def of_captions(row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset of one's own, with captions."""
    return replace(row, captions=AS_MANY)


def captions_in(value: Any, row: DatasetRow, place: str) -> tuple[str, ...]:
    """The captions in `value`: a text, or a list of texts (or of Karpathy's {"raw": text}).

    Raises UserError, which names the `place`, for anything else, and for fewer than the row says.
    """
    lines = value if isinstance(value, list) else [] if value is None else [value]
    if len(lines) > MOST:
        raise UserError(f"{place} has {len(lines):,} captions", hint=f"an image takes up to {MOST:,}")
    wanted = lines if row.captions == AS_MANY else lines[: row.captions]
    captions = tuple(_text(line, place) for line in wanted)
    if row.captions != AS_MANY and len(captions) < row.captions:
        raise UserError(f"{place} has {len(captions)} captions, not {row.captions}", hint="see its source")
    if not captions:
        raise UserError(f"{place} has no caption", hint="give each image one, or remove it")
    return captions


def _text(line: Any, place: str) -> str:
    line = line.get("raw") if isinstance(line, dict) else line
    if not isinstance(line, str):
        raise UserError(f"{place}: {visible(repr(line)[:40])} is no caption", hint=_TEXT)
    if len(line) > LONGEST:
        raise UserError(f"{place}: a caption has {len(line):,} characters", hint=f"it takes up to {LONGEST:,}")
    text = _SPACE.sub(" ", line).strip()
    if not text:
        raise UserError(f"{place}: a caption is empty", hint="write one, or remove the image")
    if not is_printable(text):
        signs = " ".join(dict.fromkeys(shown for sign in text if (shown := visible(sign)) != sign))
        raise UserError(f"{place}: a caption has characters that do not print ({signs})", hint="remove them")
    return text
