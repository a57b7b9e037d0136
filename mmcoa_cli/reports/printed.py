"""The lines that are printed for a panel: of each run its values and, below them, one for each kind of detail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import mean, stdev
from typing import NamedTuple

from .layout import BY_RUN
from .lines import grouped
from .measured import Measured, average, in_line
from .metrics import NONE, percent
from .paper import marks
from .pivot import Panel
from .rows import Row
from .wording import number, plain, short

LEAST = 0.001  # smaller p-values are not told apart
MEAN = object()  # the place of the average, which no column is called as


class Printed(NamedTuple):
    """One printed line: its `kind` is "value" (of a run) or "detail" (what stands below it); `best` are the numbers of
    the cells that no other line of their column beats."""

    kind: str
    label: str
    cells: list[str]
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Grid:
    """What stands in a panel: where datasets are its columns, their average stands behind those of the table."""

    panel: Panel
    seeds: bool  # whether means over seeds were asked for
    digits: int  # of the ends of intervals

    @cached_property
    def over_datasets(self) -> bool:
        """Whether datasets are the columns."""
        return self.panel.table.columns == "dataset"

    @cached_property
    def averaged(self) -> bool:
        return self.over_datasets and len(self.panel.columns) > 1

    @cached_property
    def places(self) -> list[object]:
        return [*self.panel.columns, *([MEAN] if self.averaged else []), *self.panel.others]

    @cached_property
    def lines(self) -> list[Mapping[object, Measured]]:
        """The cells of each line by their place; none where there is nothing."""
        found: list[Mapping[object, Measured]] = []
        for line in self.panel.lines:
            middle = average(line.rows, self.panel.columns) if self.averaged else None
            found.append({**in_line(self.panel, line), **({MEAN: middle} if middle else {})})
        return found

    @cached_property
    def counted(self) -> bool:
        """Whether lines have averages over different datasets, so that each must say over how many."""
        return self.averaged and len({line[MEAN].datasets if MEAN in line else () for line in self.lines}) > 1

    @property
    def ends(self) -> bool:
        """Whether both ends of intervals are told, not only their width."""
        return not (self.over_datasets or self.panel.datasets)

    @property
    def several(self) -> bool:
        """Whether a cell is a mean over seeds."""
        return any(cell.several for line in self.lines for cell in line.values())

    @cached_property
    def best(self) -> list[frozenset[int]]:
        """Of each line the numbers of the cells that are best among the lines that compete there: those that were
        tested alike, and of averages over different datasets none. What is printed alike is as good."""
        tested = [name for name in self.panel.table.lines if name not in ("run", *BY_RUN)]
        rivals = grouped(range(len(self.lines)), lambda n: tuple(map(self.panel.lines[n].first.get, tested)))
        found: list[set[int]] = [set() for _ in self.lines]
        for numbers in rivals:
            for column, place in enumerate(self.places):
                cells = {n: self.lines[n][place] for n in numbers if place in self.lines[n]}
                values = {
                    n: float(number(cell.first, cell.value)) for n, cell in cells.items() if not cell.first.earlier_data
                }
                if len(values) > 1 and not (place is MEAN and self.counted):
                    highest = max(values.values())
                    for n, value in values.items():
                        found[n] |= {column} if value == highest else set()
        return [frozenset(one) for one in found]

    def of(self, text: Callable[[Measured], str], line: Mapping[object, Measured], *, mean: bool = True) -> list[str]:
        """The texts of a line's cells; nothing of its average unless `mean`."""
        return [
            "" if place is MEAN and not mean else text(line[place]) if place in line else NONE for place in self.places
        ]


class Detail(NamedTuple):
    """A kind of line below the values: what it tells of a cell, and which rows call for it."""

    label: str
    text: Callable[[Measured], str]
    wanted: Callable[[Row], bool]
    of_averages: bool = True


def printed_lines(grid: Grid) -> list[Printed]:
    """All lines of a panel; the paper's numbers after full training stand below the last line of each method."""
    last = {line.first.method: place for place, line in enumerate(grid.panel.lines)}
    found = _test_sets(grid) if grid.over_datasets else []
    for place, (line, cells) in enumerate(zip(grid.panel.lines, grid.lines, strict=True)):
        several = any(cell.several for cell in cells.values())
        found.append(Printed("value", plain(line.label), grid.of(partial(_value, grid), cells), grid.best[place]))
        found.append(Printed("detail", _spread_label(grid, several), grid.of(partial(_spread, grid, several), cells)))
        found += [
            Printed("detail", kind.label, grid.of(kind.text, cells, mean=kind.of_averages))
            for kind in DETAILS
            if (kind.of_averages or not grid.panel.datasets) and any(map(kind.wanted, line.rows))
        ]
        if last[line.first.method] == place:
            found += _reference(grid, line.first.method)
    return found


def _value(grid: Grid, cell: Measured) -> str:
    count = f"{len(cell.datasets)}: " if grid.counted and cell.datasets else ""
    return count + number(cell.first, cell.value)


def _spread_label(grid: Grid, several: bool) -> str:
    if several:
        return "sd (seeds)"
    return "95%, 1 seed" if grid.seeds else "95% interval" if grid.ends else "95%"


def _spread(grid: Grid, several: bool, cell: Measured) -> str:
    """The 95% interval; over seeds the sample standard deviation, and of how many values."""
    if several:
        spread = f"±{number(cell.first, stdev(cell.by_seed))}" if cell.several else NONE
        return f"{spread} ({len(cell.by_seed)})" if cell.by_seed else NONE
    if grid.ends:
        return "–".join(number(cell.first, end, grid.digits) for end in (cell.low, cell.high))
    return f"±{number(cell.first, cell.half)}"


def _paper(cell: Measured) -> str:
    return NONE if cell.paper is None else percent(cell.paper) + cell.paper_marks


def _of_prompts(count: Callable[[Row], int | None], cell: Measured) -> str:
    """ "3/10": of ten prompts three; over seeds, their mean."""
    counts = [found for row in cell.rows if (found := count(row)) is not None]
    middle = counts[0] if len(counts) == 1 else mean(counts or [0])
    return f"{short(middle).replace(',', '')}/{cell.first.prompts}" if counts else NONE


def _success(cell: Measured) -> str:
    found = [row.own_success[0] for row in cell.rows if row.own_success]
    return percent(mean(found)) if found else NONE


def _success_ends(cell: Measured) -> str:
    found = cell.first.own_success if len(cell.rows) == 1 else None
    return "–".join(percent(end) for end in found[1:]) if found else NONE


def _behind(cell: Measured) -> str:
    """ "−3.20, p 0.012"."""
    behind = cell.first.behind
    if behind is None or not behind.by:
        return NONE if behind is None else "best"
    p = [] if behind.p is None else [f"p {behind.p:.2g}" if behind.p >= LEAST else f"p < {LEAST}"]
    return ", ".join([f"−{number(cell.first, behind.by)}", *p])


DETAILS = (
    Detail("against the best", _behind, lambda row: row.behind is not None, False),
    Detail("paper", _paper, lambda row: row.paper is not None),
    Detail("attack success", _success, lambda row: row.own_success is not None, False),
    Detail("95% interval", _success_ends, lambda row: row.own_success is not None, False),
    Detail("collisions", partial(_of_prompts, lambda row: row.collisions), lambda row: bool(row.collisions), False),
    Detail("distinct", partial(_of_prompts, lambda row: row.distinct_prompts), lambda row: row.shares_prompts, False),
)


def _test_sets(grid: Grid) -> list[Printed]:
    """A line for the number of test images and one for the side of those that were attacked."""
    of = {row.dataset: row for row in reversed(grid.panel.rows)}
    rows = [of.get(str(place)) if place is not MEAN else None for place in grid.places]
    lines = [Printed("detail", "test images", [f"{row.n:,}" if row else "" for row in rows])]
    if any(row.pixel_size for row in grid.panel.rows):
        lines.append(Printed("detail", "pixels a side", [str(row.pixel_size or NONE) if row else "" for row in rows]))
    return lines


def _reference(grid: Grid, method: str) -> list[Printed]:
    """The paper's numbers after full training, where it has no others and ours of that method saw fewer images."""
    rows = [row for row in grid.panel.rows if row.method == method]
    numbers = {
        grid.panel.layout.column(row): percent(row.paper_full) + marks(replace(row, training=""))
        for row in rows
        if row.paper_full is not None
    }
    if not grid.ends or not numbers or any(row.shots == "full" for row in rows):
        return []
    return [Printed("detail", "paper, full", [numbers.get(place, NONE) for place in grid.places])]
