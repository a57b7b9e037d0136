"""Figures as pictures (PNG, PDF or SVG), drawn with matplotlib, which is imported only here and only then."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..settings import Home
from .content import Report
from .figure import PLANES, ZERO_SHOT, Figure, Series, caption
from .measured import AVERAGE
from .pivot import Panel
from .planes import COLOURS, FONT, MARKERS, Row, draw_planes, of_evaluations, planes_of
from .threats import attack_name
from .wording import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Layout = Callable[[Any], float]  # draws into a picture, and returns the height in inches
ENDINGS = (".png", ".pdf", ".svg")
WIDTH = 3.5  # inches: a column of a paper with two
BAR: dict[str, Any] = {"capsize": 1.5, "elinewidth": 0.7, "capthick": 0.7, "markersize": 3.2, "linewidth": 1.0}
HOLLOW: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "markersize": 3.2, "markeredgewidth": 0.8}
AXES = {  # what an axis is called, where that is not its name
    "shots": "training images a class",
    "w": "w: from the model before training (0) to the trained one (1)",
}
APART, WITHIN = 0.17, 0.8  # of the distance between places: between two series at one place, and all of them at most
LEGEND, ENTRY, LINE = 0.35, 0.13, 0.105  # inches: a legend of one row, each further row, a line of the caption
CAPTION = 84  # characters of the caption that fit the width


def is_picture(path: Path) -> bool:
    """Whether the file's name ends as a picture's."""
    return path.suffix.lower() in ENDINGS


def check_ending(path: Path) -> None:
    """Raises UserError for a file that is no picture."""
    if not is_picture(path):
        raise UserError(
            f"{path.name} is no picture that can be drawn",
            hint=f"end it in {', '.join(ENDINGS)}; for rows: --format csv",
        )


def draw(report: Report, path: Path, home: Home | None = None) -> None:
    """Draw a report's figure into `path`, whole or not at all; planes lie in the store `home`. Raises UserError where
    it does not end as a picture."""
    if report.figure is None:
        raise ValueError(f"{report.table.name} is no figure")
    save(path, _layout(report.figure, home), said=caption(report.figure, report.sheets()))


def save_planes(rows: Sequence[Row], path: Path) -> None:
    """Draw rows of planes into `path`."""
    save(path, lambda picture: draw_planes(picture, rows), said=[PLANES])


def save(path: Path, layout: Layout, *, said: Sequence[str]) -> None:
    """Write a picture, whole or not at all. Raises UserError where the file does not end as one."""
    check_ending(path)
    from store.files import replacing

    kind = path.suffix[1:].lower()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with replacing(path) as partial, _drawn(layout, said) as picture:
        picture.savefig(partial, format=kind, dpi=300, metadata=metadata)


def svg(figure: Figure, home: Home | None = None) -> str:
    """The figure as an element of a page, which says itself what the picture's caption would; empty where it cannot be
    drawn without a store."""
    if home is None and figure.table.picture == "planes":
        return ""
    text = io.StringIO()
    with _drawn(_layout(figure, home), []) as picture:
        picture.savefig(text, format="svg", dpi=200, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _layout(figure: Figure, home: Home | None) -> Layout:
    """What draws it."""
    if figure.table.picture == "planes" and home:
        rows = _planes(figure, home)
        return lambda picture: draw_planes(picture, rows)
    layout = {"lines": _lines, "bars": _markers}[figure.table.picture]
    return lambda picture: layout(picture, figure)


def _planes(figure: Figure, home: Home) -> list[Row]:
    """A row for each line, a column for each panel."""
    labels = list(dict.fromkeys(line.label for panel in figure.panels for line in panel.lines))
    of = [{line.label: line.first.evaluation for line in panel.lines} for panel in figure.panels]
    results = {one.evaluation: one for one in of_evaluations([key for panel in of for key in panel.values()], home)}
    return [(label, planes_of([results.get(panel.get(label, "")) for panel in of], home)) for label in labels]


@contextmanager
def _drawn(layout: Layout, said: Sequence[str]) -> Iterator[Any]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    lines = [line for one in said for line in textwrap.wrap(one, CAPTION)]
    with rc_context(FONT):
        picture = Picture(layout="constrained")
        FigureCanvasAgg(picture)
        height = layout(picture)
        picture.set_size_inches(WIDTH, height + LINE * len(lines))
        if lines:
            words = "\n".join(lines)
            picture.supxlabel(words, fontsize=5.5, color="#444444", x=0.01, ha="left", linespacing=1.25)
        yield picture


def _lines(picture: Any, figure: Figure) -> float:
    """A panel above the other, the columns along the axis, a line for each method; returns the height."""
    every = picture.subplots(len(figure.panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel, lines in zip(every, figure.panels, figure.series, strict=True):
        trained = [series for series in lines if any(x != ZERO_SHOT for x in series.points)]
        for number, series in enumerate(lines):
            place = trained.index(series) - (len(trained) - 1) / 2 if series in trained else 0.0
            style, shift = _style(lines, number), 0.6 * _apart(trained) * place
            _draw_series(axes, series, figure.xs, style, along="x", shift=shift, beside=APART * 0.3)
            if ZERO_SHOT in series.points:  # one that is trained with nothing goes on as a dashed line
                height = 100 * series.points[ZERO_SHOT].value
                axes.axhline(height, linestyle=(0, (4, 3)), linewidth=0.7, color=style["color"], zorder=1)
        axes.set_title(attack_name(panel.first.attack), loc="left", pad=3)
        axes.set_ylabel(_metric(panel))
        axes.set_ylim(0, _top(lines))
        axes.grid(axis="y", linewidth=0.3, color="#DDDDDD")
        axes.set_axisbelow(True)
    every[-1].set_xticks(range(len(figure.xs)), [plain(_tick(figure, x)) for x in figure.xs])
    every[-1].set_xlabel(AXES.get(figure.table.columns, figure.table.columns.replace("_", " ")))
    return _legend(picture, every) + 0.35 + 1.15 * len(figure.panels)


def _markers(picture: Any, figure: Figure) -> float:
    """A panel beside the other, a row of it for each column, a marker for each method; returns the height."""
    columns = min(len(figure.panels), 2)
    rows = -(-len(figure.panels) // columns)
    every = picture.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for axes in every[len(figure.panels) :]:
        axes.set_visible(False)
    for axes, panel, lines in zip(every, figure.panels, figure.series, strict=False):
        for number, series in enumerate(lines):
            shift = _apart(lines) * (number - (len(lines) - 1) / 2)
            style = {**_style(lines, number), "linestyle": "none"}
            _draw_series(axes, series, figure.xs, style, along="y", shift=shift)
        axes.set_title(attack_name(panel.first.attack), loc="left", pad=3)
        axes.set_xlim(0, _top(lines))
        axes.set_xlabel(_metric(panel))
        for place in range(0, len(figure.xs), 2):  # every other row shaded, so that markers are read with their name
            axes.axhspan(place - 0.5, place + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
        if figure.xs[-1] == AVERAGE:
            axes.axhline(len(figure.xs) - 1.5, linewidth=0.5, color="black")
    every[0].set_yticks(range(len(figure.xs)), [plain(_tick(figure, x)) for x in figure.xs])
    every[0].set_ylim(len(figure.xs) - 0.5, -0.5)
    most = max(map(len, figure.series))
    return _legend(picture, every[: len(figure.panels)]) + rows * (
        0.55 + max(0.16, 0.08 + 0.035 * most) * len(figure.xs)
    )


def _apart(lines: list[Series]) -> float:
    """Between two series at one place, so that all of them stay nearer to it than to the next."""
    return min(APART, WITHIN / max(1, len(lines)))


def _top(lines: list[Series]) -> float:
    """The end of an axis, in percent: a little above all that it shows."""
    shown = [end for series in lines for point in series.points.values() for end in (point.bar[2], point.paper or 0.0)]
    return max(1.0, 107 * max(shown))


def _draw_series(
    axes: Axes, series: Series, xs: list[Any], style: dict[str, Any], *, along: str, shift: float, beside: float = 0.0
) -> None:
    """A series' markers with error bars at its places, which lie along the axis x or y, and `beside` each the paper's
    value."""
    points = {
        xs.index(x) + shift: point for x, point in sorted(series.points.items(), key=lambda one: xs.index(one[0]))
    }
    bars = [[100 * end for end in point.bar] for point in points.values()]
    errors: Any = [[middle - low for low, middle, _ in bars], [high - middle for _, middle, high in bars]]
    turned = slice(None, None, 1 if along == "x" else -1)
    x, y = [list(points), [middle for _, middle, _ in bars]][turned]
    axes.errorbar(
        x, y, label=plain(series.name), zorder=3, **{"yerr" if along == "x" else "xerr": errors}, **BAR, **style
    )
    for place, point in points.items():
        if point.paper is not None:
            x, y = [[place + beside], [100 * point.paper]][turned]
            axes.plot(x, y, marker=style["marker"], markeredgecolor=style["color"], zorder=2, **HOLLOW)


def _style(lines: list[Series], number: int) -> dict[str, Any]:
    """The colour and marker of a series; those of one method follow the catalog, further ones take what is left."""
    known, method = list(catalog.methods()), lines[number].method
    repeated = method in [series.method for series in lines[:number]]
    place = len(known) + number if repeated or method not in known else known.index(method)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def _metric(panel: Panel) -> str:
    """What an axis measures."""
    return f"{panel.metric}, %"


def _tick(figure: Figure, x: Any) -> str:
    """A place's name as it is printed."""
    return "–" if x is None else "zero-shot" if (figure.table.columns, x) == ("shots", ZERO_SHOT) else str(x)


def _legend(picture: Any, every: Any) -> float:
    """One legend above all panels, each name once; returns its height."""
    found: dict[str, Any] = {}
    for axes in every:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    longest = max(map(len, found), default=0)
    columns = max(1, min(len(found), 78 // (longest + 6)))
    picture.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=columns, frameon=False, handlelength=1.5,
        columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    return LEGEND + ENTRY * (math.ceil(len(found) / columns) - 1)
