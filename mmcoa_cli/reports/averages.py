"""The average of a line over datasets, how sure it is, and the paper's average over the same datasets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from .paper import NOTES, marks
from .rows import Row
from .sections import Line, grouped

NAME = "average"  # what the paper calls this column


@dataclass(frozen=True)
class Average:
    """The unweighted mean of accuracies over `datasets`; `value`, `half`, `paper` and `by_seed` are fractions.

    `half` is a 95% half width: that of each dataset is half of its Wilson interval, and these are added in squares and
    divided by the number of datasets, as for independent test sets. It says how far the choice of test images moves
    the average, not how far other datasets would. `by_seed` has an average for each seed that has all the datasets.
    """

    datasets: tuple[str, ...]
    value: float
    half: float
    paper: float | None  # None unless the paper has a number beside every one of them
    paper_marks: str
    by_seed: tuple[float, ...]
    n: int  # test images of all the datasets together
    partial: bool  # whether one of the datasets is there only in part
    first: Row


def average(line: Line, datasets: Sequence[str]) -> Average | None:
    """Over those of `datasets` that the line has; None where it has none of them."""
    cells = [line.cells[name] for name in datasets if name in line.cells]
    if not cells:
        return None
    firsts = [cell[0] for cell in cells]
    papers = [row.paper for row in firsts if row.paper is not None]
    whole = len(papers) == len(firsts)
    seeds = grouped((row for cell in cells for row in cell), lambda row: (row.run, row.seed))
    return Average(
        datasets=tuple(row.dataset for row in firsts),
        value=mean(mean(row.value for row in cell) for cell in cells),
        half=half_width([row.ci95 for row in firsts]),
        paper=mean(papers) if whole else None,
        paper_marks="".join(sign for sign in NOTES if whole and any(sign in marks(row) for row in firsts)),
        by_seed=tuple(mean(row.value for row in rows) for rows in seeds if len(rows) == len(cells)),
        n=sum(row.n for row in firsts),
        partial=any(row.partial or row.part for row in firsts),
        first=firsts[0],
    )


def half_width(intervals: Sequence[tuple[float, float]]) -> float:
    """The 95% half width of a mean of independent shares that have these 95% intervals."""
    return math.sqrt(sum(((high - low) / 2) ** 2 for low, high in intervals)) / len(intervals)


def as_row(found: Average) -> Row:
    """The average as a row of a report: `dataset` is "average", `n` the images of all its datasets."""
    low, high = max(0.0, found.value - found.half), min(1.0, found.value + found.half)
    if len(found.datasets) == 1:
        low, high = found.first.ci95
    return replace(
        found.first,
        dataset=NAME,
        value=found.value,
        n=found.n,
        partial=found.partial,
        part="",
        ci95=(low, high),
        evaluation="",
        paper=found.paper,
        paper_note="; ".join(NOTES[sign] for sign in found.paper_marks),
        paper_full=None,
        attack_success_rate=None,
        pixel_size=None,
        collisions=None,
        distinct_prompts=None,
        prompts=None,
        data="",
    )
