"""What a result was measured under, in one line: the threat model, the images, and what is not usual."""

from __future__ import annotations

from ..reports.rows import Row
from ..reports.threats import in_words
from ..reports.wording import part_of, setting


def under(row: Row) -> str:
    """ "image attack: L-inf, eps 1/255, alpha 1/255, 100 steps, on 8 x 8 pixels; seed 0"."""
    part = part_of(row)
    told = [
        *(in_words([row], sized=True) or ["no attack"]),
        *(["a class-balanced subset of the test images"] if row.limit is not None else []),
        *([f"a part of the dataset, {part}"] if part else []),
        *setting([row]),
    ]
    return "; ".join(told)
