"""Rows to sections: what may stand in one table together, and in which line.

A section is one dataset, model, set of test images, threat model, compat and seed; within it, a line is one training
run. Nothing is merged that was not measured alike, and nothing is left out. `grid.py` makes sections of many datasets,
with the same `lines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import earlier
from .rows import Row, order

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Line:
    """The results of one run, or (over seeds) of runs that differ in nothing but their seed; by column (here the
    attacks), never empty."""

    label: str
    cells: dict[str, list[Row]]

    @property
    def first(self) -> Row:
        return next(iter(self.cells.values()))[0]


@dataclass(frozen=True)
class Section:
    """Lines that were measured alike. `image` and `text` are rows that tell the threat model, None without one."""

    lines: list[Line]
    image: Row | None
    text: Row | None
    data: str  # the beginning of the data's checksum, where several datasets have the same name

    @property
    def rows(self) -> list[Row]:
        return [row for line in self.lines for cell in line.cells.values() for row in cell]


def sections(rows: Sequence[Row], *, seeds: bool = False) -> list[Section]:
    """The sections of `rows`, sorted; with `seeds`, rows that differ in nothing but the seed share a cell."""

    def alike(row: Row) -> Key:
        subset = (row.partial, row.part, row.limit is not None, row.n, row.data, row.pixel_size or 0)
        return (row.dataset, row.model, *subset, row.compat, row.precision, 0 if seeds else row.seed)

    found: list[Section] = []
    for group in grouped(sorted(rows, key=alike), alike):
        data = {row.data for row in rows if row.dataset == group[0].dataset}
        found += _by_threat(group, seeds=seeds, data=group[0].data if len(data) > 1 else "")
    return found


def _by_threat(rows: list[Row], *, seeds: bool, data: str) -> list[Section]:
    """A section for each pair of an image and a text attack; clean results stand in every one of them."""
    found: list[Section] = []
    for image, text in _threats(rows):
        fitting = [row for row in rows if image_of(row) in ((), image) and text_of(row) in ((), text)]
        lines = lines_of(fitting, column=lambda row: row.attack, label=_label, seeds=seeds)
        if found:  # a run with nothing but clean results is shown once, in the first section
            lines = [line for line in lines if set(line.cells) != {"clean"}]
        first_image = next((row for row in fitting if image_of(row)), None)
        first_text = next((row for row in fitting if text_of(row)), None)
        found.append(Section(lines, first_image, first_text, data))
    return found


def _threats(rows: list[Row]) -> list[tuple[Key, Key]]:
    """The image and text attacks that belong together: those of a multimodal result, else each on its own."""
    pairs = list(dict.fromkeys((image_of(row), text_of(row)) for row in rows if image_of(row) and text_of(row)))
    images = [image for image in _distinct(map(image_of, rows)) if image not in [pair[0] for pair in pairs]]
    texts = [text for text in _distinct(map(text_of, rows)) if text not in [pair[1] for pair in pairs]]
    if len(images) == len(texts) == 1:
        return [*pairs, (images[0], texts[0])]
    return [*pairs, *((image, ()) for image in images), *(((), text) for text in texts)] or [((), ())]


def image_of(row: Row) -> Key:
    settings = (row.norm, row.eps, row.alpha, row.steps, row.stop_when_fooled, row.image_version or 0)
    return settings if row.norm is not None else ()


def text_of(row: Row) -> Key:
    settings = (row.mlm, row.max_words_changed, row.no_collisions, row.mlm_weights, row.text_version or 0)
    return settings if row.mlm is not None else ()


def lines_of(
    rows: Iterable[Row],
    *,
    column: Callable[[Row], str],
    order: Callable[[Row], Key] = order,
    label: Callable[[Row], str],
    seeds: bool = False,
) -> list[Line]:
    """The lines of one section, sorted by `order`; with `seeds`, runs and evaluations of several seeds share a line.

    A line is of one state of the weights: what a run or model of the same name was before stands in a line of its own.
    """
    rows = list(rows)
    weights: dict[str, set[str]] = {}
    for row in rows:
        weights.setdefault(row.run, set()).add(row.weights)

    def of_one_line(row: Row) -> Key:
        if seeds:  # other seeds are other weights; but of one run there is one state only
            return (*order(row), row.recipe, row.weights if len(weights[row.run]) > 1 else "")
        return (*order(row), row.train_seed, row.run, row.weights)

    groups = grouped(sorted(rows, key=of_one_line), of_one_line)
    cells = [cell for group in groups for cell in _without_repeats(group, column)]
    return [Line(text, cell) for text, cell in zip(_labels(cells, label, seeds=seeds), cells, strict=True)]


def _without_repeats(rows: list[Row], column: Callable[[Row], str]) -> list[dict[str, list[Row]]]:
    """The cells of a line by column, and of as many more lines as the same thing was measured again."""
    lines: list[dict[str, list[Row]]] = []
    for same in grouped(rows, lambda row: (column(row), row.train_seed, row.seed, row.run)):
        for number, row in enumerate(same):
            if number == len(lines):
                lines.append({})
            lines[number].setdefault(column(row), []).append(row)
    return lines


def _labels(lines: list[dict[str, list[Row]]], label: Callable[[Row], str], *, seeds: bool) -> list[str]:
    """The method and shots of each line; what else tells lines apart is named only where it must be."""
    firsts = [next(iter(cells.values()))[0] for cells in lines]
    labels = [label(row) + told_of_seed(row, firsts, seeds=seeds) for row in firsts]
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


def told_of_seed(row: Row, others: Sequence[Row], *, seeds: bool = False) -> str:
    """The training seed, where those of lines that are shown together differ."""
    trained = {other.train_seed for other in others if other.source}
    return f", training seed {row.train_seed}" if row.source and len(trained) > 1 and not seeds else ""


def name_of(row: Row, source: str = "") -> str:
    """The method, the shots, the `source` and the training's compat, as "mmcoa, 5-shot from imagenet, release"; and
    what has been replaced since."""
    shots = {"0": "zero-shot", "full": "full"}.get(row.shots, f"{row.shots}-shot")
    name = f"{row.method}, {shots}{source}" + (", release" if row.train_compat == "release" else "")
    return ", ".join([name, *earlier.words(row)])


def _label(row: Row) -> str:
    return name_of(row, f" from {row.source}" if row.source not in ("", row.dataset) else "")


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[list[Row]]:
    """Rows of equal keys together, in the order in which the keys come."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _distinct(keys: Iterable[Key]) -> list[Key]:
    """Every key once, the empty one left out."""
    return [key for key in dict.fromkeys(keys) if key]
