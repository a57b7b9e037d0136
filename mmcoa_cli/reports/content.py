"""What a report holds: the rows of a table, as panels or as a figure, and what is missing among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from ..catalog.tables import AXES, MEAN, TableRow
from .layout import Layout
from .measured import as_row, in_line
from .pivot import Panel, comparable, panels
from .rows import Row, as_dicts
from .sheet import Sheet, sheet_of
from .titles import title_of

if TYPE_CHECKING:  # most reports are tables
    from .figure import Figure

MOST = 100  # lines of a table that somebody reads
SEEDS = ("seed", "train_seed")
ALWAYS = (*SEEDS, "method", "source", "shots", "training", "dataset", "attack", "metric", "model", "run")  # of a row


class Missing(Protocol):
    """What a report lacks, and the commands that fill it."""

    def entries(self) -> list[dict[str, str]]:
        """One for each result, run or dataset, as JSON has them."""

    def lines(self) -> list[str]:
        """The same for people; none where nothing is missing."""


@dataclass(frozen=True)
class Report:
    """The `results` of `table`, in its order. What they are shown as is worked out when it is asked for."""

    table: TableRow
    results: list[Row]
    seeds: bool = False
    missing: Missing | None = None
    made_by: Callable[[Sequence[Row]], list[str]] | None = None  # what to type for results
    older: int = 0  # results that are not here, as there are newer ones

    @cached_property
    def figure(self) -> Figure | None:
        """The picture, of a table that is drawn."""
        if not self.table.picture:
            return None
        from .figure import figure

        found = panels(self.results, table=self.table, seeds=self.seeds)
        return figure(found, self.table, every=len(self.results))

    @cached_property
    def panels(self) -> list[Panel]:
        """What is shown; of a figure, what it draws."""
        if self.figure:
            return self.figure.panels
        found = panels(self.results, table=self.table, seeds=self.seeds)
        return [mean for panel in found for mean in comparable([panel])] if self.table.cell == MEAN else found

    @cached_property
    def title(self) -> str:
        """What it is called: it says what is shown."""
        return title_of(self.table, self.panels)

    @cached_property
    def rows(self) -> list[Row]:
        """What CSV and JSON have: the results, of a figure those that it draws; and the averages."""
        if self.table.cell != MEAN and not self.figure:
            return self.results
        if self.figure:
            return self.figure.rows
        cells = (cell for panel in self.panels for line in panel.lines for cell in in_line(panel, line).values())
        return [*self.results, *map(as_row, cells)]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as JSON has them."""
        return as_dicts(self.rows)

    def sheets(self, *, digits: int = 2) -> list[Sheet]:
        """The panels in words; the ends of intervals have `digits` decimals, all other percentages two."""
        return [sheet_of(panel, seeds=self.seeds, digits=digits, beside=self.results) for panel in self.panels]

    def newest(self) -> Report:
        """The same without the older ones of results that differ in nothing that the table names, where there would be
        more lines than somebody reads; over seeds, of each seed."""
        layout = Layout(self.table)
        if self.table.picture or not _are_more(self.results, (*layout.apart, *SEEDS), than=MOST):
            return self
        names = dict.fromkeys((*AXES, *layout.free, "model", "metric", *(SEEDS if self.seeds else ())))
        told = attrgetter(*(name for name in names if name in ALWAYS))
        others = [name for name in names if name not in ALWAYS]
        newest: dict[tuple[object, ...], Row] = {}
        for row in sorted(self.results, key=attrgetter("created_at")):
            newest[(told(row), *map(row.get, others))] = row
        if len(newest) == len(self.results):
            return self
        kept = {id(row) for row in newest.values()}
        results = [row for row in self.results if id(row) in kept]
        return replace(self, results=results, older=len(self.results) - len(results))


def _are_more(rows: Sequence[Row], names: Sequence[str], *, than: int) -> bool:
    """Whether there are more lines of them than so many, by their run and the fields `names`."""
    found: set[tuple[object, ...]] = set()
    for row in rows:
        found.add((row.run, *map(row.get, names)))
        if len(found) > than:
            return True
    return False


def report_of(
    rows: Sequence[Row],
    table: TableRow,
    *,
    seeds: bool = False,
    missing: Missing | None = None,
    made_by: Callable[[Sequence[Row]], list[str]] | None = None,
) -> Report:
    """The report of `rows`, which are never empty; with `seeds`, those that differ in nothing but their seed become a
    mean and a standard deviation. Raises UserError where nothing of them can be shown."""
    report = Report(table, list(rows), seeds, missing, made_by)
    if table.cell == MEAN and not report.panels:
        from .figure import no_average

        raise no_average(table)
    return report
