"""What a figure shows: of all panels of its table those that belong in one picture, as series of points.

One picture has one training set, model, subset, seed, precision and compat, and threat models that agree; of several,
the paper's training set and then the most results. Averages that are compared are over the same datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from store.errors import UserError

from ..catalog.tables import MEAN, TableRow
from .layout import Key
from .lines import Line
from .measured import AVERAGE, Measured, as_row, average, in_line
from .paper import NOTES
from .pivot import Panel, agree, comparable
from .rows import Row
from .sheet import Sheet, about
from .threats import agreement

BESIDE = {"planes": ("dataset",), "lines": (), "bars": ()}  # by the picture: what has panels side by side
ZERO_SHOT = "0"  # the shots of a model as it comes
PLANES = (
    "dots: clean images; crosses: the same under the attack; a colour a class, its name at its clean images. t-SNE "
    "keeps neighbours: distances between groups, and their sizes, say nothing"
)


@dataclass(frozen=True)
class Series:
    """One line's points, by their place along the axis; `method` picks the colour and the marker."""

    name: str
    method: str
    points: dict[Any, Measured]


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
        chosen = comparable(chosen)
    if not chosen:
        raise no_average(table)
    known, others = (_sorted(names, chosen) for names in ([p.columns for p in chosen], [p.others for p in chosen]))
    series = [[_series(panel, line, known) for line in panel.lines] for panel in chosen]
    points = [point for of_panel in series for one in of_panel for point in one.points.items()]
    averaged = [AVERAGE] if any(x == AVERAGE for x, _ in points) else []
    drawn = [row for panel in chosen for row in panel.rows]
    means = [as_row(point) for _, point in points if point.datasets]
    return Figure(table, chosen, series, [*known, *others, *averaged], [*drawn, *means], every - len(drawn))


def no_average(table: TableRow) -> UserError:
    """What is wrong where no result is on a dataset that is averaged over."""
    return UserError(
        f"{table.name} is an average over the paper's datasets, and the index has results on none of them",
        hint=f"mmcoa evaluate --checkpoint RUN --dataset {','.join(table.datasets[:3])}",
    )


def _alike(found: Sequence[Panel], table: TableRow) -> list[Panel]:
    """One panel for each attack (and dataset, in planes), in the order of the table: the best one, and those that were
    measured as it was."""

    def rank(panel: Panel) -> Key:
        of_today = sum(not row.earlier for row in panel.rows)
        other = panel.has("dataset") and panel.first.dataset not in table.datasets
        return (panel.fields.get("source") not in table.sources, other, -of_today, -len(panel.rows))

    kept: dict[Key, Panel] = {}
    for panel in sorted(found, key=rank):
        place = _place(panel)
        if place not in kept and all(_measured_alike(panel, other) for other in kept.values()):
            kept[place] = panel
    return [kept[place] for place in sorted(kept)]


def _place(panel: Panel) -> Key:
    """Where a panel stands in a picture: one for each attack, and of planes for each dataset."""
    names = [name for name in ("attack", *BESIDE[panel.table.picture]) if panel.has(name)]
    return tuple(panel.layout.place(name, panel.first.get(name)) for name in names)


def _measured_alike(one: Panel, other: Panel) -> bool:
    settings = [
        (dict(panel.fields), _test_set(panel), row.model, row.task, row.compat, row.precision, row.seed)
        for panel, row in ((one, one.first), (other, other.first))
    ]
    return settings[0] == settings[1] and agree(_threat(one), _threat(other))


def _test_set(panel: Panel) -> Key:
    """What panels of one picture are of: with its limit the dataset, where that is one, unless there is a panel for
    each."""
    if BESIDE[panel.table.picture]:
        return ()
    return panel.limit, panel.first.dataset if panel.has("dataset") else ""


def _threat(panel: Panel) -> dict[str, Key]:
    """What the results of a panel agree on."""
    return {name: key for row in panel.rows for name, key in agreement(row.threat, panel.layout.free).items()}


def _sorted(some: Iterable[Iterable[Any]], panels: Sequence[Panel]) -> list[Any]:
    """The columns of several panels, each once."""
    layout = panels[0].layout
    return sorted({x for columns in some for x in columns}, key=lambda x: layout.place(layout.table.columns, x))


def _series(panel: Panel, line: Line, known: Sequence[Any]) -> Series:
    """The points of a line; of one that has all the datasets along the axis, where there are several, their average."""
    points: dict[Any, Measured] = in_line(panel, line)
    if panel.table.columns == "dataset" and len(known) > 1 and set(known) <= set(points):
        mean = average(line.rows, known)
        points |= {AVERAGE: mean} if mean else {}
    return Series(line.label, line.first.method, points)


def caption(drawn: Figure, sheets: Sequence[Sheet]) -> list[str]:
    """What is said around the tables of the same panels, what bars and signs are, and what is not drawn."""
    said = dict.fromkeys(line for sheet in sheets for line in (*sheet.circumstances, *sheet.remarks))
    if drawn.table.picture == "planes":
        return [*dict.fromkeys(about(panel) for panel in drawn.panels), *said, PLANES]
    signs = dict.fromkeys(note for sheet in sheets for note in sheet.notes if note[0] in NOTES)
    several = any(point.several for of_panel in drawn.series for one in of_panel for point in one.points.values())
    hollow = ["hollow: the paper's"] if any(row.paper is not None for row in drawn.rows) else []
    left_out = f"{drawn.left_out} results with other settings, shots or fewer datasets are not drawn"
    return [
        about(drawn.panels[0]),
        *said,
        "; ".join([f"bars: {'the standard deviation over seeds' if several else '95% intervals'}", *hollow, *signs]),
        *([left_out] if drawn.left_out else []),
    ]
