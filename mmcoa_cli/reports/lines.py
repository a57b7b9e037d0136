"""Rows to lines: which runs a line of a panel is of, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..catalog.tables import AXES, TableRow
from . import earlier
from .order import OF_RUN, OF_WEIGHTS, Key, of_run, place
from .rows import Row


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


def lines_of(rows: Iterable[Row], table: TableRow, *, seeds: bool = False) -> list[Line]:
    """The lines of one panel, sorted; with `seeds`, runs and evaluations of several seeds share a line.

    A line is of one state of the weights: what a run or model of the same name was before stands in a line of its own.
    """
    rows = list(rows)
    weights: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        weights.setdefault((row.run, row.epoch), set()).add(row.weights)

    def of_one_line(row: Row) -> Key:
        key = of_run(row, table)
        if not seeds and table.columns not in OF_WEIGHTS:
            return (*key, row.train_seed, row.run, row.weights)
        # other seeds, or shots, are other weights; but of one run there is one state only
        state = row.weights if len(weights[row.run, row.epoch]) > 1 else ""
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
    source_words = f" from {row.source}" if source else ""
    epoch = [f"epoch {row.epoch}"] if row.before_the_last and "epoch" not in (*table.lines, table.columns) else []
    release = ["release"] if row.train_compat == "release" else []
    return ", ".join([", ".join(filter(None, told)) + source_words, *epoch, *release, *earlier.words(row)])


def _said(name: str) -> int:
    return ("method", "shots").index(name) if name in ("method", "shots") else 2


def value_words(name: str, value: Any) -> str:
    """A value of a field, as it stands in a label or above a column."""
    if name == "shots":
        return {"0": "zero-shot", "full": "full"}.get(value, f"{value}-shot")
    if name in AXES:
        return str(value)
    return "–" if value is None else f"{name.replace('_', ' ')} {value}"


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[list[Row]]:
    """Rows of equal keys together, in the order in which the keys come."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())
