"""Captions as they come with images: texts that print, as many of each image as the dataset's row says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from store.errors import UserError
from store.printable import is_printable, visible

from ...catalog import AS_MANY, DatasetRow

LONGEST, MOST = 10_000, 1_000  # characters of a caption, captions of an image
COLUMNS = ("captions", "caption", "sentences", "text")
_SPACE = re.compile(r"[\t\n\v\f\r]+")
_TEXT = "a caption is a text, and those of one image are a list of texts"


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
