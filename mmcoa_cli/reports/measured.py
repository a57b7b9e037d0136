"""What stands in a cell: one accuracy, its mean over seeds or the average over datasets; how sure it is; the paper's.

All are fractions in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any, NamedTuple

from .lines import Line, grouped
from .paper import NOTES, marks, note
from .pivot import Panel
from .rows import Row

AVERAGE = "average"  # what the paper calls this column


class Measured(NamedTuple):
    """A value and the ends of its 95% interval. `by_seed` has the value of each seed that has it; `rows` are what it
    is made of, and `paper` is None unless the paper has a number beside every one of them."""

    value: float
    low: float
    high: float
    paper: float | None
    paper_marks: str
    by_seed: tuple[float, ...]
    rows: tuple[Row, ...]
    datasets: tuple[str, ...] = ()  # that it is an average over

    @property
    def half(self) -> float:
        """The larger side of the interval."""
        return max(self.high - self.value, self.value - self.low)

    @property
    def several(self) -> bool:
        """Whether it is a mean over seeds."""
        return len(self.by_seed) > 1

    @property
    def bar(self) -> tuple[float, float, float]:
        """The low end, the middle and the high end of an error bar: over several seeds mean and standard deviation."""
        if self.several:
            middle, spread = mean(self.by_seed), stdev(self.by_seed)
            return middle - spread, middle, middle + spread
        return max(0.0, self.low), self.value, min(1.0, self.high)

    @property
    def first(self) -> Row:
        return self.rows[0]


def of_cell(cell: Sequence[Row]) -> Measured:
    """One result, or the mean over the seeds of a cell, with the interval of the first."""
    first, values = cell[0], tuple(row.value for row in cell)
    value = mean(values) if len(values) > 1 else first.value
    return Measured(value, *first.ci95, first.paper, marks(first), values, tuple(cell))


def average(rows: Iterable[Row], datasets: Sequence[str]) -> Measured | None:
    """The unweighted mean over those of `datasets` that have a row; None where none has. Of several seeds those count
    that have a row on each of them, if any has.

    Its 95% half width is that of the datasets (half of each Wilson interval), added in squares and divided by their
    number, as for independent test sets. It says how far the choice of test images moves the average, not how far
    other datasets would.
    """
    seeds = grouped((row for row in rows if row.dataset in datasets), lambda row: (row.run, row.seed))
    there = {row.dataset for of_seed in seeds for row in of_seed}
    whole = [of_seed for of_seed in seeds if len(of_seed) == len(there)]
    every = [row for of_seed in whole or seeds for row in of_seed]
    cells = sorted(grouped(every, lambda row: (row.dataset,)), key=lambda cell: datasets.index(cell[0].dataset))
    if not cells:
        return None
    firsts = [cell[0] for cell in cells]
    papers = [row.paper for row in firsts if row.paper is not None]
    has_all = len(papers) == len(firsts)
    value = mean(mean(row.value for row in cell) for cell in cells)
    half = half_width([row.ci95 for row in firsts])
    return Measured(
        value,
        value - half,
        value + half,
        mean(papers) if has_all else None,
        "".join(sign for sign in NOTES if has_all and any(sign in marks(row) for row in firsts)),
        tuple(mean(row.value for row in of_seed) for of_seed in whole),
        tuple(row for cell in cells for row in cell),
        tuple(row.dataset for row in firsts),
    )


def half_width(intervals: Sequence[tuple[float, float]]) -> float:
    """The 95% half width of a mean of independent shares that have these 95% intervals."""
    return math.sqrt(sum(((high - low) / 2) ** 2 for low, high in intervals)) / len(intervals)


def in_line(panel: Panel, line: Line) -> dict[object, Measured]:
    """What stands in a line of a panel, by its column."""
    cells = ((column, line.cells.get(column)) for column in (*panel.columns, *panel.others))
    measured = (
        (column, average(cell, panel.datasets) if panel.datasets else of_cell(cell)) for column, cell in cells if cell
    )
    return {column: found for column, found in measured if found}


def as_row(found: Measured) -> Row:
    """An average as a row of a report: `dataset` is "average", `n` the images of all its datasets."""
    firsts = [cell[0] for cell in grouped(found.rows, lambda row: (row.dataset,))]
    of_one = ("paper_full", "attack_success_rate", "pixel_size", "collisions", "distinct_prompts", "prompts")
    blank: dict[str, Any] = {**dict.fromkeys(("part", "evaluation", "data"), ""), **dict.fromkeys(of_one)}
    return replace(
        found.first,
        dataset=AVERAGE,
        value=found.value,
        n=sum(row.n for row in firsts),
        seconds=sum(row.seconds for row in firsts),
        partial=any(row.partial or row.part for row in firsts),
        ci95=(max(0.0, found.low), min(1.0, found.high)) if len(firsts) > 1 else found.first.ci95,
        paper=found.paper,
        paper_note=note(found.paper_marks),
        **blank,
    )
