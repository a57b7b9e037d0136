"""What a figure shows: of all panels of its table those that belong in one picture, as series of points.

One picture has one training set, model, subset, seed, precision and compat, and threat models that agree; of several,
the paper's training set and then the most results. Averages that are compared are over the same datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from store.errors import UserError

from ..catalog.tables import MEAN, TableRow
from . import threats
from .lines import Line, value_words
from .measured import AVERAGE, Measured, as_row, average, in_cell
from .order import Key, place
from .paper import NOTES, marks
from .pivot import Panel, comparable
from .rows import Row
from .wording import model_name, part_of, plain, setting

ZERO_SHOT = "0"  # the shots of a model as it comes


@dataclass(frozen=True)
class Point:
    """Fractions in [0, 1]: a value, the ends of its error bar, and the paper's value. `x` is its place."""

    x: Any
    value: float
    low: float
    high: float
    paper: float | None = None


@dataclass(frozen=True)
class Series:
    """One line's points; `method` picks the colour and the marker."""

    name: str
    method: str
    points: list[Point]


@dataclass(frozen=True)
class Figure:
    """Panels that share their places `xs`, with their series; `rows` are all that was drawn, and the averages."""

    table: TableRow
    panels: list[Panel]
    series: list[list[Series]]  # of each panel
    xs: list[Any]
    rows: list[Row]
    left_out: int  # results that are not drawn


def figure(found: Sequence[Panel], table: TableRow, *, every: int) -> Figure:
    """The figure of these panels of `table`, which have `every` results. Raises UserError where there is no average."""
    chosen = _alike(found, table)
    if table.cell == MEAN:
        chosen = [panel for panel in comparable(chosen) if panel.lines]
    if not chosen:
        raise no_average(table)
    known, others = (_sorted(names, table) for names in ([p.columns for p in chosen], [p.others for p in chosen]))
    averaged = {id(line): _average(line, known, table) for panel in chosen for line in panel.lines}
    series = [[_series(panel, line, averaged[id(line)]) for line in panel.lines] for panel in chosen]
    means = [cell for panel in chosen for line in panel.lines for cell in _means(panel, line, averaged[id(line)])]
    drawn = [row for panel in chosen for row in panel.rows]
    return Figure(
        table, chosen, series,
        [*known, *others, *([AVERAGE] if any(averaged.values()) else [])],
        [*drawn, *map(as_row, means)], every - len(drawn),
    )  # fmt: skip


def _sorted(some: Iterable[Iterable[Any]], table: TableRow) -> list[Any]:
    """The columns of several panels, each once."""
    return sorted({x for columns in some for x in columns}, key=lambda x: place(table.columns, x, table))


def no_average(table: TableRow) -> UserError:
    return UserError(
        f"{table.name} is an average over the paper's datasets, and the index has results on none of them",
        hint=f"mmcoa evaluate --checkpoint RUN --dataset {','.join(table.datasets[:3])}",
    )


def _alike(found: Sequence[Panel], table: TableRow) -> list[Panel]:
    """One panel for each attack, in the order of the table: the best one, and those that were measured as it was."""
    ranked = sorted(
        found, key=lambda panel: (panel.fields.get("source") not in table.sources, -_of_today(panel), -len(panel.rows))
    )
    kept: dict[str, Panel] = {}
    for panel in ranked:
        attack = panel.first.attack if panel.has("attack") else ""
        if attack not in kept and all(_agree(panel, other) for other in kept.values()):
            kept[attack] = panel
    return [kept[attack] for attack in sorted(kept, key=lambda name: place("attack", name, table))]


def _of_today(panel: Panel) -> int:
    """How many results are of weights, data and models that have not been replaced since."""
    return sum(not row.earlier for row in panel.rows)


def _agree(one: Panel, other: Panel) -> bool:
    first, second = _threat(one), _threat(other)
    same = all(first[name] == second[name] for name in set(first) & set(second))
    return same and _setting(one) == _setting(other)


def _threat(panel: Panel) -> dict[str, Key]:
    free = (*panel.table.lines, panel.table.columns)
    return {name: threats.key(name, part, without=free) for row in panel.rows for name, part in row.threat.items()}


def _setting(panel: Panel) -> Key:
    row = panel.first
    return (dict(panel.fields), panel.limit, row.model, row.compat, row.precision, row.seed)


def _average(line: Line, datasets: Sequence[str], table: TableRow) -> Measured | None:
    """Of a line that has all the datasets along the axis, where there are several."""
    if table.columns != "dataset" or len(datasets) < 2 or not set(datasets) <= set(line.cells):
        return None
    return average(line.rows, datasets)


def _means(panel: Panel, line: Line, averaged: Measured | None) -> list[Measured]:
    if averaged:
        return [averaged]
    cells = [in_cell(panel, line, column) for column in line.cells] if panel.datasets else []
    return [cell for cell in cells if cell]


def _series(panel: Panel, line: Line, averaged: Measured | None) -> Series:
    columns = [x for x in (*panel.columns, *panel.others) if x in line.cells]
    points = [_point(x, cell) for x in columns if (cell := in_cell(panel, line, x))]
    return Series(line.label, line.first.method, [*points, *([_point(AVERAGE, averaged)] if averaged else [])])


def _point(x: Any, cell: Measured) -> Point:
    """With its 95% interval, or over several seeds their mean and standard deviation."""
    if len(cell.by_seed) > 1:
        middle, spread = mean(cell.by_seed), stdev(cell.by_seed)
        return Point(x, middle, middle - spread, middle + spread, cell.paper)
    return Point(x, cell.value, max(0.0, cell.low), min(1.0, cell.high), cell.paper)


def metric(panel: Panel) -> str:
    """What an axis measures."""
    return f"{panel.first.metric.replace('_', ' ')}, %"


def along(table: TableRow) -> str:
    """What the places along an axis are."""
    return {"shots": "training images a class"}.get(table.columns, table.columns.replace("_", " "))


def tick(table: TableRow, x: Any) -> str:
    """A place's name as it is printed."""
    if table.columns == "shots":
        return "zero-shot" if x == ZERO_SHOT else str(x)
    return "–" if x is None else str(x)


def caption(drawn: Figure) -> list[str]:
    """What was measured on which model and data, what the signs are, and what is not drawn: a paragraph each."""
    measured = [row for row in drawn.rows if row.evaluation]
    panel, row = drawn.panels[0], measured[0]
    source = next((f"trained on {row.source}, " for row in measured if row.source), "")
    if shots := panel.fields.get("shots"):
        source += f"{value_words('shots', shots)}, "
    subset = f", class-balanced subsets of up to {row.limit:,} images" if row.limit is not None else ""
    attacks = threats.lines(measured)
    count = drawn.left_out
    told = [
        f"{model_name(row)}, {source}{', '.join(setting(measured))}{subset}. {_averages(drawn)}".rstrip(),
        *(["; ".join(attacks) + "."] if attacks else []),
        " ".join([_bars(drawn), *_paper(measured)]),
        *_parts(measured),
        *([f"{count} results with other settings, shots or fewer datasets are not drawn."] if count else []),
    ]
    return [plain(line) for line in told]


def _averages(drawn: Figure) -> str:
    """Over which datasets the averages are, where there are any."""
    if drawn.table.cell != MEAN:
        over = [x for x in drawn.xs if x in drawn.table.datasets]
        return f"{AVERAGE}: of {len(over)} datasets." if AVERAGE in drawn.xs else ""
    datasets = drawn.panels[0].datasets
    if len(datasets) == 1:
        return f"Of the datasets only {datasets[0]}."
    told = "" if len(datasets) == len(drawn.table.datasets) else f" ({', '.join(datasets)})"
    return f"Averages of {len(datasets)} datasets{told}."


def _bars(drawn: Figure) -> str:
    several = any(
        len(cell.by_seed) > 1
        for panel in drawn.panels for line in panel.lines for name in line.cells if (cell := in_cell(panel, line, name))
    )  # fmt: skip
    return f"Bars: {'the standard deviation over seeds' if several else '95% intervals'}."


def _paper(measured: Sequence[Row]) -> list[str]:
    """The hollow markers, and what sets them apart."""
    compared = [row for row in measured if row.paper is not None]
    if not compared:
        return []
    signs = [sign for sign in NOTES if any(sign in marks(row) for row in compared)]
    return ["Hollow: the paper's" + "".join(f"; {NOTES[sign]}" for sign in signs) + "."]


def _parts(measured: Sequence[Row]) -> list[str]:
    """Which datasets, of test or of training, are only there in part."""
    tested: Mapping[str, str] = {row.dataset: part for row in measured if (part := part_of(row))}
    trained = dict.fromkeys(row.train_part for row in measured if row.train_part)
    return [
        *([f"Only a part: {'; '.join(f'{name}, {part}' for name, part in tested.items())}."] if tested else []),
        *([f"Trained on a part: {'; '.join(trained)}."] if trained else []),
    ]
