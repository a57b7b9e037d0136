"""Captions as they come with images: texts that print, as many of each image as the dataset's row says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from store.errors import UserError
from store.printable import is_printable, visible

from ...catalog import AS_MANY, DatasetRow
from ..decoding import common_size
from ..files import Files, LeftOut, joined
from ..samples import ORDER, Recognised, Sample
from .image_folders import sized

LONGEST, MOST = 10_000, 1_000  # characters of a caption, captions of an image
NO_IMAGE, NO_CAPTION = "a caption without an image", "an image without a caption"
COLUMNS = ("captions", "caption", "sentences", "text")
_SPACE = re.compile(r"[\t\n\v\f\r]+")
_TEXT = "a caption is a text, and those of one image are a list of texts"


class Entry(NamedTuple):
    """An image with captions, as a list of them has it: `path` is that of a file, `value` one or several captions."""

    split: str
    path: str
    value: Any


def is_own(row: DatasetRow) -> bool:
    """Whether it is a dataset of one's own, of which nothing says yet that it has classes or captions."""
    return not (row.class_names or row.captions or row.splits)


def of_captions(row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset of one's own, with captions."""
    return replace(row, captions=AS_MANY)


def checked(value: Any, row: DatasetRow, place: str) -> tuple[str, ...]:
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


@dataclass(frozen=True)
class Listed:
    """The images of a folder or archive that lists of captions name, in their order; `left_out` is what they do not
    name, and what they name that is not there."""

    samples: Mapping[tuple[str, str], Sequence[Any]]  # (split, path) -> captions
    left_out: LeftOut


def listed(files: Files, images: Sequence[str], entries: Iterable[Entry]) -> Listed:
    """The captions of each of `images`. Raises UserError for an image of two splits."""
    known, split_of = set(images), dict[str, str]()
    found: dict[tuple[str, str], list[Any]] = {}
    absent: dict[str, None] = {}
    for split, path, value in entries:
        if path not in known:
            absent[path] = None
            continue
        if split_of.setdefault(path, split) != split:
            raise UserError(
                f"{files.title}: {path} has captions of {split_of[path]} and of {split}", hint="which of them is it?"
            )
        found.setdefault((split, path), []).extend(value if isinstance(value, list) else [value])
    others = {NO_IMAGE: tuple(map(visible, absent)), NO_CAPTION: tuple(path for path in images if path not in split_of)}
    return Listed(found, others)


def recognised_in(files: Files, row: DatasetRow, found: Listed, left_out: LeftOut) -> Recognised:
    """The dataset of one's own that has these captions. `val` is the test set where there is no `test`."""
    splits = {split for split, _ in found.samples}
    ours = {split: "test" if split == "val" and "test" not in splits else split for split in splits}
    order = sorted(found.samples, key=lambda sample: (ORDER.index(ours[sample[0]]), sample[1]))
    full = sized(of_captions(row), common_size(files.image(path) for _, path in order))

    def samples() -> Iterator[Sample]:
        for split, path in order:
            captions = checked(list(found.samples[split, path]), full, f"{files.title}: {path}")
            yield Sample(ours[split], files.image(path), captions=captions)

    return Recognised(full, samples(), files.total, len(order), joined(found.left_out, left_out, files.left_out))
