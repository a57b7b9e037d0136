"""What a report holds: the rows of a table, as panels or as a figure, and what is missing among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..catalog.tables import MEAN, TableRow
from .figure import Figure, figure, no_average
from .measured import as_row, in_cell
from .pivot import Panel, comparable, panels
from .rows import Row
from .sheet import Sheet, sheet_of


class Missing(Protocol):
    """What a report lacks, and the commands that fill it."""

    def entries(self) -> list[dict[str, str]]:
        """One for each result, run or dataset, as JSON has them."""

    def lines(self) -> list[str]:
        """The same for people; none where nothing is missing."""


@dataclass(frozen=True)
class Report:
    """The rows of `table`, in its order, and the panels in which they are shown; those of a figure are what it draws,
    with its averages."""

    table: TableRow
    rows: list[Row]
    panels: list[Panel]
    seeds: bool = False
    figure: Figure | None = None
    missing: Missing | None = None
    command: Callable[[Row], str] | None = None  # what to type for a row

    def sheets(self, *, digits: int = 2) -> list[Sheet]:
        """The panels in words; the ends of intervals have `digits` decimals, all other percentages two."""
        return [sheet_of(panel, seeds=self.seeds, digits=digits, beside=self.rows) for panel in self.panels]


def report_of(rows: Sequence[Row], table: TableRow, *, seeds: bool = False, missing: Missing | None = None) -> Report:
    """The report of `rows`, which are never empty; with `seeds`, those that differ in nothing but their seed become a
    mean and a standard deviation. Raises UserError where nothing of them can be shown."""
    found = panels(rows, table=table, seeds=seeds)
    if table.picture:
        picture = figure(found, table, every=len(rows))
        return Report(table, picture.rows, picture.panels, seeds, picture, missing)
    if table.cell != MEAN:
        return Report(table, list(rows), found, seeds, None, missing)
    found = [shown for panel in found for shown in comparable([panel]) if shown.lines]
    if not found:
        raise no_average(table)
    means = [as_row(mean) for p in found for line in p.lines for name in line.cells if (mean := in_cell(p, line, name))]
    return Report(table, [*rows, *means], found, seeds, None, missing)
