"""Rows to lines: which runs a line of a panel is of, and what it is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeVar

from ..catalog.tables import AXES
from . import outdated
from .layout import OF_RUNS, OF_WEIGHTS, Key, Layout
from .rows import Row

Cells = dict[Any, list[Row]]
T = TypeVar("T")
PLAIN = (*AXES, "metric", "run", "model")  # fields whose values need no name before them
APART: tuple[Callable[[Row], str], ...] = (  # what is told, one after the other, of lines that are called alike
    lambda row: row.training or "the paper's settings",
    lambda row: f"on {row.train_part}" if row.train_part else "on all images",
    lambda row: f"run {row.run[-8:]}",
    lambda row: f"weights {row.weights[:8]}" if row.weights else "weights not recorded",
    lambda row: f"started from {row.base[:8]}",
    lambda row: f"evaluation {row.evaluation[:8]}",
)


@dataclass(frozen=True)
class Line:
    """The results of one run, or of runs that differ in nothing but their seed or the column's field; never empty.

    A cell has several rows where seeds share it, or where it is a mean over datasets."""

    label: str
    cells: Cells

    @cached_property
    def rows(self) -> list[Row]:
        return [row for cell in self.cells.values() for row in cell]

    @property
    def first(self) -> Row:
        return next(iter(self.cells.values()))[0]


def lines_of(rows: Sequence[Row], layout: Layout, *, seeds: bool = False) -> list[Line]:
    """The lines of one panel, sorted; with `seeds`, runs and evaluations of several seeds share a line.

    A line is of one state of the weights: what a run or model of the same name was before stands in a line of its own.
    """
    several = seeds or layout.table.columns in OF_WEIGHTS  # states of weights in one line
    states = Counter(of[:2] for of in {(row.run, row.epoch, row.weights) for row in rows})

    def of_one_line(row: Row) -> Key:
        """Equal for results that stand in one line."""
        if not several:
            return (*layout.of_run(row), row.train_seed, row.run, row.weights)
        return (
            *layout.of_run(row),
            row.recipe if seeds and layout.table.columns not in OF_RUNS else "",
            0 if seeds else row.train_seed,
            row.weights if states[row.run, row.epoch] > 1 else "",  # those of other runs are others anyway
        )

    by_column = sorted(rows, key=lambda row: layout.place(layout.table.columns, layout.column(row)))
    groups = sorted_groups(by_column, of_one_line)
    cells = [cells for group in groups for cells in _without_repetition(group, layout)]
    return [Line(text, of) for text, of in zip(_labels(cells, layout, seeds=seeds), cells, strict=True)]


def _without_repetition(rows: Sequence[Row], layout: Layout) -> list[Cells]:
    """The cells of a line, and of as many more lines as the same was trained or measured again."""
    runs: dict[Key, dict[str, int]] = {}
    times: Counter[Key] = Counter()
    lines: dict[Key, Cells] = {}
    for row in rows:
        column = layout.column(row)
        trained = runs.setdefault((column if layout.table.columns in OF_RUNS else None, row.train_seed), {})
        training = trained.setdefault(row.run, len(trained))
        measured = (training, column, row.dataset, row.train_seed, row.seed)
        lines.setdefault((training, times[measured]), {}).setdefault(column, []).append(row)
        times[measured] += 1
    return [cells for _, cells in sorted(lines.items(), key=lambda one: one[0])]


def _labels(lines: Sequence[Cells], layout: Layout, *, seeds: bool) -> list[str]:
    """The values of each line's fields; what else tells lines apart is named only where it must be."""
    firsts = [next(iter(cells.values()))[0] for cells in lines]
    seeded = len({row.train_seed for row in firsts if row.source}) > 1 and not seeds
    labels = [
        _name(row, layout) + (f", training seed {row.train_seed}" if seeded and row.source else "") for row in firsts
    ]
    for detail in APART:
        times = Counter(labels)
        alike = [number for number, text in enumerate(labels) if times[text] > 1]
        told: dict[str, set[str]] = {}
        for number in alike:
            told.setdefault(labels[number], set()).add(detail(firsts[number]))
        for number in alike:
            if len(told[labels[number]]) > 1:
                labels[number] += f", {detail(firsts[number])}"
    return labels


def _name(row: Row, layout: Layout) -> str:
    """ "mmcoa, 5-shot from imagenet, release": the fields of a line, and what has been replaced since."""
    lines = layout.table.lines
    ordered = [*(name for name in ("method", "shots") if name in lines), *lines]
    told = ", ".join(filter(None, (value_words(n, row.get(n)) for n in dict.fromkeys(ordered) if n != "source")))
    source = f" from {row.source}" if "source" in lines and row.source not in ("", row.dataset) else ""
    epoch = [f"epoch {row.epoch}"] if row.before_the_last and "epoch" not in layout.free else []
    release = {"none": [], "release": ["release"]}.get(row.train_compat, [f"compat {row.train_compat}"])
    return ", ".join([told + source, *epoch, *release, *outdated.words(row)])


def value_words(name: str, value: Any) -> str:
    """A value of a field, as it stands in a label or above a column."""
    if name == "shots":
        return {"0": "zero-shot", "full": "full"}.get(value, f"{value}-shot")
    if name in PLAIN:
        return str(value).replace("_", " ") if name == "metric" else str(value)
    return "–" if value is None else f"{name.replace('_', ' ')} {value}"


def grouped(found: Iterable[T], key: Callable[[T], Key]) -> list[list[T]]:
    """What has equal keys together, in the order in which the keys come."""
    return [*_by_key(found, key).values()]


def sorted_groups(found: Iterable[T], key: Callable[[T], Key]) -> list[list[T]]:
    """The same in the order of the keys, each of which is worked out once."""
    return [of for _, of in sorted(_by_key(found, key).items(), key=itemgetter(0))]


def _by_key(found: Iterable[T], key: Callable[[T], Key]) -> dict[Key, list[T]]:
    groups: dict[Key, list[T]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return groups
