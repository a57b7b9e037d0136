"""Rows to panels: what may stand in one table together, in which line, and in which column.

A table's row in the catalog names the fields that are lines and columns; results that differ in any other field, or
were not measured alike (model, test set, threat model, compat, precision, seed), have a panel of their own. A model
that nothing was trained on stands beside the runs of every source. Nothing is merged that was not measured alike, and
nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..catalog.tables import TableRow
from . import threats
from .lines import Line, grouped, lines_of
from .order import OF_WEIGHTS, Key, apart, place, spreads_over_datasets
from .rows import Row

Threat = Mapping[str, Key]


@dataclass(frozen=True)
class Panel:
    """Lines that were measured alike. `columns` are those of the table, `others` the user's own."""

    table: TableRow
    lines: list[Line]
    columns: list[Any]
    others: list[Any]
    fields: Mapping[str, str]  # of the runs, those that are neither lines nor columns; empty for zero-shot alone
    limit: int | None = None
    data: str = ""  # the beginning of the data's checksum, where several datasets have the same name
    datasets: tuple[str, ...] = ()  # that its cells are means over
    left_out: int = 0  # results without a place, as they are on fewer datasets than its means

    @property
    def rows(self) -> list[Row]:
        return [row for line in self.lines for row in line.rows]

    @property
    def first(self) -> Row:
        return self.lines[0].first

    def has(self, name: str) -> bool:
        """Whether all its results are of one value of this axis."""
        return name in apart(self.table)


def panels(rows: Sequence[Row], *, table: TableRow, seeds: bool = False) -> list[Panel]:
    """The panels of `rows`, sorted; with `seeds`, results that differ in nothing but the seed share a cell."""

    def alike(row: Row) -> Key:
        fields = [name for name in apart(table) if name in ("method", "attack")]
        threat = tuple(sorted(_threat(row, table).items())) if "attack" in fields else ()
        return (
            *(part for name in fields for part in place(name, row.get(name), table)),
            *(() if spreads_over_datasets(table) else (row.dataset,)),
            *(row.model, row.measure),
            *(() if spreads_over_datasets(table) else (row.limit is not None, *_test_set(row))),
            *(row.compat, row.precision, 0 if seeds else row.seed),
            threat,
        )

    data: dict[str, set[str]] = {}
    for row in rows:
        data.setdefault(row.dataset, set()).add(row.data)
    found = []
    for group in grouped(sorted(rows, key=alike), alike):
        for number, fitting in enumerate(_by_threat(group, table)):
            for fields, limit, same in _without_repeated(_parts(fitting, table)):
                lines = lines_of(same, table, seeds=seeds)
                if number:  # what no attack changed stands beside every attack; a line of nothing else, only once
                    lines = [line for line in lines if any(row.threat for row in line.rows)]
                told = same[0].data if len(data[same[0].dataset]) > 1 and not spreads_over_datasets(table) else ""
                fields = fields if any(row.source for row in same) else dict.fromkeys(fields, "")
                found += [Panel(table, lines, *_columns(lines, table), fields, limit, told)] if lines else []
    return found


def _columns(lines: Sequence[Line], table: TableRow) -> tuple[list[Any], list[Any]]:
    """The columns of the table that there are, and those that it does not know."""
    there = {value for line in lines for value in line.cells}
    ordered = sorted(there, key=lambda value: place(table.columns, value, table))
    own = set(ordered if table.columns in OF_WEIGHTS else table.axis(table.columns) or ordered)
    return [value for value in ordered if value in own], [value for value in ordered if value not in own]


def _threat(row: Row, table: TableRow) -> Threat:
    """What of the threat model results must agree on, for each of its parts."""
    free = (*table.lines, table.columns)
    return {name: threats.key(name, section, without=free) for name, section in row.threat.items()}


def _by_threat(rows: list[Row], table: TableRow) -> list[list[Row]]:
    """The rows of each threat model. Those of fewer parts, or of none, stand with all that they agree with."""
    own = [(row, _threat(row, table)) for row in rows]
    return [[row for row, threat in own if threat.items() <= whole.items()] for whole in _wholes(t for _, t in own)]


def _wholes(every: Iterable[Threat]) -> list[dict[str, Key]]:
    """The threat models that have tables of their own, those of most parts first. Ones that agree with all the others
    are added to each."""
    distinct = sorted({tuple(threat.items()): dict(threat) for threat in every}.values(), key=len, reverse=True)
    whole = [one for one in distinct if not any(one.items() < other.items() for other in distinct)]
    free = [one for one in whole if all(_agree(one, other) for other in whole)]
    shared = {name: part for one in free for name, part in one.items()}
    return [{**one, **shared} for one in whole if one not in free] or [shared]


def _agree(one: Threat, other: Threat) -> bool:
    return all(one[name] == other[name] for name in set(one) & set(other))


def _parts(rows: list[Row], table: TableRow) -> list[tuple[dict[str, str], int | None, list[Row]]]:
    """The rows parted by the fields of runs that are neither lines nor columns, then by test sets."""
    names = [name for name in apart(table) if name in ("source", "shots")]

    def of(row: Row) -> tuple[str, ...]:
        return tuple(row.get(name) for name in names)

    keys = sorted({of(row) for row in rows if row.source}) or [("",) * len(names)]
    by_run = [(dict(zip(names, key, strict=True)), [r for r in rows if not r.source or of(r) == key]) for key in keys]
    if not spreads_over_datasets(table):
        return [(fields, of_run[0].limit, of_run) for fields, of_run in by_run]
    return [
        (fields, limit, same)
        for fields, of_run in by_run
        for limit, subset in _by_limit(of_run)
        for same in _by_data(subset)
    ]


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


def _without_repeated(
    parts: list[tuple[dict[str, str], int | None, list[Row]]],
) -> list[tuple[dict[str, str], int | None, list[Row]]]:
    """Without those whose rows all stand in another: one before, or one after that has more."""
    own = [{row.evaluation for row in rows} for _, _, rows in parts]
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
    sets = [
        {row.dataset for row in cell} & set(table.datasets)
        for p in found
        for ln in p.lines
        for cell in ln.cells.values()
    ]
    best = max(sets, key=lambda one: sum(one <= other for other in sets) * len(one))
    datasets = tuple(name for name in table.datasets if name in best)
    return [_over(panel, datasets) for panel in found]


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
