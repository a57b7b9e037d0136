"""What a figure shows: of all the rows of its task those that belong in one picture, as panels, series and points.

One picture has one training set, model, subset, seed, precision and compat, and threat models that agree; of several,
the paper's training set and then the most results. Averages that are compared are over the same datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from store.errors import UserError

from .. import catalog
from . import earlier
from .averages import NAME, as_row, average
from .grid import Grid, grids
from .rows import Row, order
from .sections import Key, Line, image_of, text_of, told_of_seed


@dataclass(frozen=True)
class Point:
    """Fractions in [0, 1]: a value, the ends of its error bar, and the paper's value. `x` names its place."""

    x: str
    value: float
    low: float
    high: float
    paper: float | None = None


@dataclass(frozen=True)
class Series:
    """One method's points; `method` picks the colour and the marker."""

    name: str
    method: str
    points: list[Point]


@dataclass(frozen=True)
class Panel:
    """One attack."""

    attack: str
    series: list[Series]


@dataclass(frozen=True)
class Figure:
    """Panels that share their places `xs`; `rows` are all that was drawn, and the averages among it."""

    task: catalog.TableRow
    panels: list[Panel]
    xs: list[str]
    datasets: list[str]  # that the averages are over
    rows: list[Row]
    shots: str = ""  # of the runs, where the places are datasets
    left_out: int = 0  # results of the task that are not drawn
    several: bool = False  # whether error bars are deviations over seeds


def figure(rows: Sequence[Row], *, task: catalog.TableRow, seeds: bool = False) -> Figure:
    """The figure of `task` from its rows, never empty; with `seeds` the points are means over seeds."""
    chosen = _alike(grids(rows, task=task, seeds=seeds), task)
    make = {"shots": _by_shots, "dataset": _by_datasets}[task.columns]
    return make(chosen, task, len(rows), seeds)


def _alike(every: list[Grid], task: catalog.TableRow) -> list[Grid]:
    """One grid for each attack, in the order of the task: the best one, and those that were measured as it was."""
    ranked = sorted(every, key=lambda grid: (grid.source not in task.sources, -_of_today(grid), -len(grid.rows)))
    found: list[Grid] = []
    for grid in ranked:
        if grid.rows[0].attack not in [other.rows[0].attack for other in found] and all(
            _agree(grid, other) for other in found
        ):
            found.append(grid)
    return sorted(found, key=lambda grid: task.attacks.index(grid.rows[0].attack))


def _of_today(grid: Grid) -> int:
    """How many results are of weights, data and models that have not been replaced since."""
    return sum(not row.earlier for row in grid.rows)


def _agree(one: Grid, other: Grid) -> bool:
    first, second = one.rows[0], other.rows[0]
    threats = ((image_of(first), image_of(second)), (text_of(first), text_of(second)))
    return _setting(one) == _setting(other) and all(not a or not b or a == b for a, b in threats)


def _setting(grid: Grid) -> Key:
    row = grid.rows[0]
    return (grid.source, grid.limit, row.model, row.compat, row.precision, row.seed)


def _by_shots(chosen: list[Grid], task: catalog.TableRow, every: int, seeds: bool) -> Figure:
    """Averages against shots; zero-shot stands at 0."""
    if not any(grid.datasets for grid in chosen):
        names = ", ".join(task.datasets[:3])
        raise UserError(
            f"{task.name} is an average over the paper's datasets, and the index has results on none of them",
            hint=f"mmcoa evaluate --checkpoint RUN --dataset {names.replace(' ', '')}",
        )
    datasets = _common([set(line.cells) & set(grid.datasets) for grid in chosen for line in grid.lines], task)
    panels, drawn, averages, xs = [], [], [], {}
    for grid in chosen:
        lines = [line for line in grid.lines if set(datasets) <= set(line.cells)]
        kept = [_restricted(line, datasets) for line in _first_of_each(lines, lambda row: order(row))]
        series: dict[Key, Series] = {}
        for line in kept:
            found = average(line, datasets)
            assert found is not None
            row = as_row(found)
            drawn += [row for cell in line.cells.values() for row in cell]
            averages.append(row)
            xs[row.shots] = _place(row)
            name = _name(row, [other.first for other in kept], seeds=seeds)
            point = _point(row.shots, row, found.by_seed)
            series.setdefault(_run_of(row), Series(name, row.method, [])).points.append(point)
        panels.append(Panel(grid.rows[0].attack, sorted(series.values(), key=_rank)))
    return Figure(
        task, panels, sorted(xs, key=lambda shots: xs[shots]), list(datasets), [*drawn, *averages],
        left_out=every - len(drawn), several=_several(chosen),
    )  # fmt: skip


def _by_datasets(chosen: list[Grid], task: catalog.TableRow, every: int, seeds: bool) -> Figure:
    """Each dataset's accuracies at the shots of most results, and the averages of lines that have all datasets."""
    trained = [row for grid in chosen for row in grid.rows if row.source]
    counts = {row.shots: (sum(o.shots == row.shots for o in trained), _place(row)) for row in trained}
    shots = max(counts, key=lambda name: counts[name], default="")
    there = {name for grid in chosen for name in grid.datasets}
    datasets = [name for name in task.datasets if name in there]
    others = sorted({name for grid in chosen for name in grid.others})
    panels, drawn, averages = [], [], []
    for grid in chosen:
        lines = [line for line in grid.lines if line.first.shots == shots or not line.first.source]
        kept = _first_of_each(lines, order)
        series = []
        for line in kept:
            cells = {name: line.cells[name] for name in (*datasets, *others) if name in line.cells}
            points = [_point(name, cell[0], [row.value for row in cell]) for name, cell in cells.items()]
            drawn += [row for cell in cells.values() for row in cell]
            found = average(line, datasets)
            if found is not None and len(found.datasets) == len(datasets) > 1:
                averages.append(as_row(found))
                points.append(_point(NAME, averages[-1], found.by_seed))
            name = _name(line.first, [other.first for other in kept], seeds=seeds)
            series.append(Series(name, line.first.method, points))
        panels.append(Panel(grid.rows[0].attack, sorted(series, key=_rank)))
    xs = [*datasets, *others, *([NAME] if averages else [])]
    return Figure(
        task, panels, xs, datasets, [*drawn, *averages],
        shots=shots, left_out=every - len(drawn), several=_several(chosen),
    )  # fmt: skip


def _common(sets: list[set[str]], task: catalog.TableRow) -> tuple[str, ...]:
    """The datasets to average over: those of one line such that most results are drawn."""
    best = max(sets, key=lambda one: sum(one <= other for other in sets) * len(one))
    return tuple(name for name in task.datasets if name in best)


def _restricted(line: Line, datasets: Sequence[str]) -> Line:
    return Line(line.label, {name: line.cells[name] for name in datasets})


def _first_of_each(lines: list[Line], key: Callable[[Row], Key]) -> list[Line]:
    """Of lines of the same settings, which a picture cannot tell apart, the first."""
    return list({key(line.first): line for line in reversed(lines)}.values())[::-1]


def _run_of(row: Row) -> Key:
    """What the runs of one series have in common: everything but their shots."""
    return (row.method, row.source, row.train_compat, row.training, row.train_part, *earlier.state(row))


def _name(row: Row, every: Sequence[Row], *, seeds: bool) -> str:
    """The method, what of it has been replaced since, and what else a series needs to be told apart from others."""
    others = {_run_of(other) for other in every if other.method == row.method}
    release = ", release" if row.train_compat == "release" else ""
    told = (row.training or "the paper's settings", row.train_part) if len(others) > 1 else ()
    named = row.method + release + told_of_seed(row, every, seeds=seeds)
    return ", ".join([named, *earlier.words(row), *(text for text in told if text)])


def _rank(series: Series) -> tuple[int, str]:
    known = list(catalog.methods())
    return (known.index(series.method) if series.method in known else len(known), series.name)


def _place(row: Row) -> float:
    return float(row.shots) if row.shots.isdigit() else float("inf")


def _several(chosen: list[Grid]) -> bool:
    return any(len(cell) > 1 for grid in chosen for line in grid.lines for cell in line.cells.values())


def _point(x: str, row: Row, by_seed: Sequence[float]) -> Point:
    """With the row's 95% interval, or over several seeds their mean and standard deviation."""
    if len(by_seed) > 1:
        middle, spread = mean(by_seed), stdev(by_seed)
        return Point(x, middle, middle - spread, middle + spread, row.paper)
    return Point(x, row.value, *row.ci95, row.paper)
