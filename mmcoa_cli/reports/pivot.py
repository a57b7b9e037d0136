"""Rows to panels: what may stand in one table together, in which line, and in which column.

A table's row in the catalog names the fields that are lines and columns; results that differ in any other field, or
were not measured alike (model, test set, threat model, compat, precision, seed), have a panel of their own. A model
that nothing was trained on stands beside the runs of every source. Nothing is merged that was not measured alike, and
nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..catalog.tables import AXES, TableRow
from . import earlier, threats
from .order import OF_RUN, Key, apart, of_run, place, spreads_over_datasets
from .rows import Row

Threat = Mapping[str, Key]


@dataclass(frozen=True)
class Line:
    """The results of one run, or of runs that differ in nothing but their seed or the column's field; never empty.

    A cell has several rows where seeds share it, or where it is a mean over datasets."""

    label: str
    cells: dict[Any, list[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for cell in self.cells.values() for row in cell]

    @property
    def first(self) -> Row:
        return next(iter(self.cells.values()))[0]


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

    found = []
    for group in grouped(sorted(rows, key=alike), alike):
        for number, fitting in enumerate(_by_threat(group, table)):
            found += [
                panel
                for fields, limit, same in _without_repeated(_parts(fitting, table))
                if (panel := _panel(same, table, rows, fields=fields, limit=limit, seeds=seeds, first=not number)).lines
            ]
    return found


def _panel(
    rows: list[Row], table: TableRow, every: Sequence[Row], *, fields: Mapping[str, str], limit: int | None,
    seeds: bool, first: bool,
) -> Panel:  # fmt: skip
    lines = lines_of(rows, table, seeds=seeds)
    if not first:  # results of no attack stand beside every one of them; a line with no others is shown once
        lines = [line for line in lines if any(row.threat for row in line.rows)]
    there = {value for line in lines for value in line.cells}
    ordered = sorted(there, key=lambda value: place(table.columns, value, table))
    own = set(table.axis(table.columns))
    known = ordered if not own or table.columns in OF_RUN else [value for value in ordered if value in own]
    data = {row.data for row in every if row.dataset == rows[0].dataset}
    trained = any(row.source for row in rows)
    return Panel(
        table, lines, known, [value for value in ordered if value not in known],
        fields if trained else dict.fromkeys(fields, ""), limit,
        rows[0].data if len(data) > 1 and not spreads_over_datasets(table) else "",
    )  # fmt: skip


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


def lines_of(rows: Iterable[Row], table: TableRow, *, seeds: bool = False) -> list[Line]:
    """The lines of one panel, sorted; with `seeds`, runs and evaluations of several seeds share a line.

    A line is of one state of the weights: what a run or model of the same name was before stands in a line of its own.
    """
    rows = list(rows)
    weights: dict[str, set[str]] = {}
    for row in rows:
        weights.setdefault(row.run, set()).add(row.weights)

    def of_one_line(row: Row) -> Key:
        key = of_run(row, table)
        if not seeds and table.columns not in OF_RUN:
            return (*key, row.train_seed, row.run, row.weights)
        # other seeds, or shots, are other weights; but of one run there is one state only
        state = row.weights if len(weights[row.run]) > 1 else ""
        return (
            *key,
            row.recipe if seeds and table.columns not in OF_RUN else "",
            *(() if seeds else (row.train_seed,)),
            state,
        )

    def by_column(row: Row) -> Key:
        return place(table.columns, row.get(table.columns), table)

    groups = grouped(sorted(sorted(rows, key=by_column), key=of_one_line), of_one_line)
    cells = [cell for group in groups for cell in _cells(group, table)]
    return [Line(text, cell) for text, cell in zip(_labels(cells, table, seeds=seeds), cells, strict=True)]


def _cells(rows: list[Row], table: TableRow) -> list[dict[Any, list[Row]]]:
    """The cells of a line by column, and of as many more lines as the same was trained or measured again."""
    runs: dict[Key, dict[str, None]] = {}

    def same_training(row: Row) -> Key:
        return (row.get(table.columns) if table.columns in OF_RUN else None, row.train_seed)

    for row in rows:
        runs.setdefault(same_training(row), {})[row.run] = None
    lines: list[dict[Any, list[Row]]] = []
    for of_one_run in grouped(rows, lambda row: (list(runs[same_training(row)]).index(row.run),)):
        own: list[dict[Any, list[Row]]] = []
        for same in grouped(of_one_run, lambda row: (row.get(table.columns), row.dataset, row.train_seed, row.seed)):
            own += [{} for _ in range(len(same) - len(own))]
            for line, row in zip(own, same, strict=False):
                line.setdefault(row.get(table.columns), []).append(row)
        lines += own
    return lines


def _labels(lines: list[dict[Any, list[Row]]], table: TableRow, *, seeds: bool) -> list[str]:
    """The values of each line's fields; what else tells lines apart is named only where it must be."""
    firsts = [next(iter(cells.values()))[0] for cells in lines]
    seeded = len({row.train_seed for row in firsts if row.source}) > 1 and not seeds
    labels = [
        _name(row, table) + (f", training seed {row.train_seed}" if seeded and row.source else "") for row in firsts
    ]
    details: list[Callable[[Row], str]] = [
        lambda row: row.training or "the paper's settings",
        lambda row: f"on {row.train_part}" if row.train_part else "on all images",
        lambda row: f"run {row.run[-8:]}",
        lambda row: f"weights {row.weights[:8]}" if row.weights else "weights not recorded",
        lambda row: f"started from {row.base[:8]}",
        lambda row: f"evaluation {row.evaluation[:8]}",
    ]
    for detail in details:
        told: dict[str, set[str]] = {}
        for row, text in zip(firsts, labels, strict=True):
            told.setdefault(text, set()).add(detail(row))
        labels = [
            f"{text}, {detail(row)}" if len(told[text]) > 1 else text for row, text in zip(firsts, labels, strict=True)
        ]
    return labels


def _name(row: Row, table: TableRow) -> str:
    """ "mmcoa, 5-shot from imagenet, release": the fields of a line, and what has been replaced since."""
    told = [value_words(name, row.get(name)) for name in sorted(table.lines, key=_said) if name != "source"]
    source = "source" in table.lines and row.source not in ("", row.dataset)
    release = ["release"] if row.train_compat == "release" else []
    return ", ".join([", ".join(told) + (f" from {row.source}" if source else ""), *release, *earlier.words(row)])


def _said(name: str) -> int:
    return ("method", "shots").index(name) if name in ("method", "shots") else 2


def value_words(name: str, value: Any) -> str:
    """A value of a field, as it stands in a label or above a column."""
    if name == "shots":
        return {"0": "zero-shot", "full": "full"}.get(value, f"{value}-shot")
    if name in AXES:
        return str(value)
    return "–" if value is None else f"{name.replace('_', ' ')} {value}"


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


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[list[Row]]:
    """Rows of equal keys together, in the order in which the keys come."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())
