"""Rows to panels: what may stand in one table together, in which line, and in which column.

A table's row in the catalog names the fields that are lines and columns; results that differ in any other field, or
were not measured alike (task, model, test set, threat model, compat, precision, seed), have a panel of their own. A
model that nothing was trained on stands beside the runs of every source, what no attack changed beside every attack.
Nothing is merged that was not measured alike, and nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..catalog.tables import TableRow
from .layout import OF_WEIGHTS, Key, Layout, natural
from .lines import Line, grouped, lines_of, sorted_groups
from .rows import Row
from .threats import agreement

Setting = Mapping[str, Any]  # what results must agree on; of what one does not have, it agrees with everything


@dataclass(frozen=True)
class Panel:
    """Lines that were measured alike. `columns` are those of the table, `others` the user's own."""

    layout: Layout
    lines: list[Line]
    columns: list[Any]
    others: list[Any]
    fields: Mapping[str, str]  # of the runs, those that are neither lines nor columns; empty for zero-shot alone
    limit: int | None = None
    data: str = ""  # the beginning of the data's checksum, where several datasets have the same name
    datasets: tuple[str, ...] = ()  # that its cells are means over
    left_out: int = 0  # results without a place, as they are on fewer datasets than its means

    @property
    def table(self) -> TableRow:
        return self.layout.table

    @cached_property
    def rows(self) -> list[Row]:
        return [row for line in self.lines for row in line.rows]

    @property
    def first(self) -> Row:
        return self.lines[0].first

    @property
    def metric(self) -> str:
        """What its first result is a share of: "robust accuracy"."""
        return self.first.metric.replace("_", " ")

    def has(self, name: str) -> bool:
        """Whether all its results are of one value of this axis."""
        return name in self.layout.apart


def panels(rows: Sequence[Row], *, table: TableRow, seeds: bool = False) -> list[Panel]:
    """The panels of `rows`, sorted; with `seeds`, results that differ in nothing but the seed share a cell."""
    layout = Layout(table)

    def alike(row: Row) -> Key:
        """Equal for results that may stand in one panel."""
        fields = [name for name in layout.apart if name in ("method", "attack")]
        return (
            *(part for name in fields for part in layout.place(name, row.get(name))),
            *(() if layout.spreads else (row.dataset,)),
            *("" if "model" in layout.free else row.model, row.task),
            "" if "metric" in layout.free else row.measure,
            *(() if layout.spreads else (row.limit is not None, *_test_set(row))),
            *(row.compat, row.precision, 0 if seeds else row.seed),
            tuple(sorted(agreement(row.threat, layout.free).items())) if "attack" in fields else (),
        )

    data = {(row.dataset, row.data) for row in rows}
    several = Counter(name for name, _ in data)
    found = []
    for group in sorted_groups(rows, alike):
        parts = _split(group, lambda row: agreement(row.threat, layout.free))
        for number, fitting in enumerate(sorted(parts, key=_radii)):
            for limit, same in _without_repeated(_measured_alike(fitting, layout)):
                lines = lines_of(same, layout, seeds=seeds)
                if number:  # what no attack changed stands beside every attack; a line of nothing else, only once
                    lines = [line for line in lines if any(row.threat.parts for row in line.rows)]
                told = same[0].data if several[same[0].dataset] > 1 and not layout.spreads else ""
                fields = _of_run(next((row for row in same if row.source), None), layout)
                found += [Panel(layout, lines, *_columns(lines, layout), fields, limit, told)] if lines else []
    return found


def _columns(lines: Sequence[Line], layout: Layout) -> tuple[list[Any], list[Any]]:
    """The columns of the table that there are, and those that it does not know."""
    name = layout.table.columns
    there = {value for line in lines for value in line.cells}
    ordered = sorted(there, key=lambda value: layout.place(name, value))
    own = set(ordered if name in OF_WEIGHTS else layout.table.axis(name) or ordered)
    return [value for value in ordered if value in own], [value for value in ordered if value not in own]


def _split(rows: Sequence[Row], setting: Callable[[Row], Setting]) -> list[list[Row]]:
    """The rows of each setting; those that have less of one stand with all that they agree with."""
    own = [(row, setting(row).items()) for row in rows]
    return [[row for row, of in own if of <= whole.items()] for whole in _wholes(setting(row) for row in rows)]


def _radii(rows: Sequence[Row]) -> Key:
    """What panels that differ in nothing before are sorted by."""
    threats = {row.threat: None for row in rows}
    return tuple(
        sorted({natural(str(part["eps"])) for threat in threats for part in threat.parts.values() if "eps" in part})
    )


def _wholes(every: Iterable[Setting]) -> list[dict[str, Any]]:
    """The settings that are part of no other, those that have most first. Ones that agree with all the others are
    added to each."""
    distinct = sorted({tuple(one.items()): dict(one) for one in every}.values(), key=len, reverse=True)
    whole = [one for one in distinct if not any(one.items() < other.items() for other in distinct)]
    free = [one for one in whole if all(agree(one, other) for other in whole)]
    shared = {name: part for one in free for name, part in one.items()}
    return [{**one, **shared} for one in whole if one not in free] or [shared]


def agree(one: Setting, other: Setting) -> bool:
    """Whether they have the same of all that both have."""
    return all(one[name] == other[name] for name in set(one) & set(other))


def _of_run(row: Row | None, layout: Layout) -> dict[str, str]:
    """The fields of a run that keep panels apart; empty ones without a run."""
    return {name: row.get(name) if row else "" for name in layout.apart if name in ("source", "shots")}


def _measured_alike(rows: Sequence[Row], layout: Layout) -> list[tuple[int | None, list[Row]]]:
    """The rows parted by the fields of runs that are neither lines nor columns, then by test sets; each with its
    limit."""

    def of_run(row: Row) -> Key:
        return tuple(_of_run(row, layout).values()) if row.source else ()

    by_run = _split(rows, lambda row: {"run": of_run(row)} if row.source else {})
    by_run.sort(key=lambda same: max(map(of_run, same)))
    if not layout.spreads:
        return [(same[0].limit, same) for same in by_run]
    return [(limit, same) for own in by_run for limit, subset in _by_limit(own) for same in _by_data(subset)]


def _by_limit(rows: list[Row]) -> list[tuple[int | None, list[Row]]]:
    """The rows of whole test sets, then those of subsets by their size; a whole test set that is smaller than the
    limit is its own subset, and stands with both."""
    limits = sorted({row.limit for row in rows if row.limit is not None}, reverse=True)
    whole = [row for row in rows if row.limit is None]
    subsets = [(n, [row for row in rows if row.limit == n or (row.limit is None and row.n <= n)]) for n in limits]
    return [*([(None, whole)] if whole else []), *subsets]


def _by_data(rows: list[Row]) -> list[list[Row]]:
    """The rows parted so that no dataset has two test sets of one name; of several, the one of most rows is first."""
    parted: list[list[Row]] = []
    for same in grouped(rows, lambda row: (row.dataset,)):
        for number, (test_set, _) in enumerate(Counter(map(_test_set, same)).most_common()):
            if number == len(parted):
                parted.append([])
            parted[number] += [row for row in same if _test_set(row) == test_set]
    return parted


def _test_set(row: Row) -> Key:
    return (row.partial, row.part, row.n, row.data, row.pixel_size or 0)


def _without_repeated(parts: Sequence[tuple[int | None, list[Row]]]) -> list[tuple[int | None, list[Row]]]:
    """Without those whose rows all stand in another: one before, or one after that has more."""
    own = [{(row.evaluation, row.metric) for row in rows} for _, rows in parts]
    return [
        part
        for number, part in enumerate(parts)
        if not any(own[number] <= other for other in own[:number])
        and not any(own[number] < other for other in own[number + 1 :])
    ]


def comparable(found: Sequence[Panel]) -> list[Panel]:
    """Panels whose cells are means, with the cells that have all of the same datasets: those of one cell such that most
    results have a place; without any of the table's datasets, no cell has."""
    table = found[0].table
    cells = [cell for panel in found for line in panel.lines for cell in line.cells.values()]
    sets = [{row.dataset for row in cell} & set(table.datasets) for cell in cells]
    best = max(sets, key=lambda one: sum(one <= other for other in sets) * len(one))
    datasets = tuple(name for name in table.datasets if name in best)
    return [panel for panel in (_over(panel, datasets) for panel in found) if panel.lines]


def _over(panel: Panel, datasets: tuple[str, ...]) -> Panel:
    lines = []
    for line in panel.lines:
        cells = {
            column: [row for row in cell if row.dataset in datasets]
            for column, cell in line.cells.items()
            if datasets and {*datasets} <= {row.dataset for row in cell}
        }
        lines += [Line(line.label, cells)] if cells else []
    there = {column for line in lines for column in line.cells}
    return replace(
        panel,
        lines=lines,
        columns=[column for column in panel.columns if column in there],
        others=[column for column in panel.others if column in there],
        datasets=datasets,
        left_out=len(panel.rows) - sum(len(line.rows) for line in lines),
    )
