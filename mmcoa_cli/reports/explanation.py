"""The difference of our numbers from the paper's, taken apart: below each of ours what a switch makes of it, and by how
much that is another, with the 95% interval of the difference.

On the same test images two results are compared image by image, where the task counts each; else, and with the paper's
number, as of samples that know nothing of each other.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import mean
from typing import Any

from ..catalog import OURS, PAPER, RELEASE, Cell, switches
from ..catalog.tables import MEAN
from .content import Report
from .figure import Figure
from .layout import Layout
from .lines import value_words
from .metrics import NONE, percent
from .paper import marks
from .printed import Printed
from .rows import Row
from .sheet import Sheet
from .threats import attack_name, in_words
from .wording import EXPLANATIONS, model_name, plain, setting

MOVES = "*"
NOTES = (
    f"{MOVES} the 95% interval of the difference from ours leaves out 0; one in twenty that move nothing is called so",
    "the interval is about the choice of test images; how far another seed moves a run that is trained anew, it does "
    "not know",
)


@dataclass(frozen=True)
class Effect:
    """One result of a `cell` with a switch on, or the paper's number: its `value`, and how far that is from ours, as
    fractions."""

    cell: Cell
    switch: str
    row: Row  # what was measured; beside the paper's number ours
    value: float
    n: int
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    paired: bool = False

    @property
    def moves(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return not self.low <= 0 <= self.high

    def document(self) -> dict[str, Any]:
        """As JSON and CSV have it."""
        cell, row = self.cell, self.row
        return {
            **{name: getattr(cell, name) for name in ("method", "source", "shots", "dataset", "attack")},
            **dict(cell.training), **dict(cell.options), "epoch": row.epoch, "metric": row.metric,
            "switch": self.switch, "value": self.value, "n": self.n, "difference": self.difference,
            "difference_low": self.low, "difference_high": self.high, "paired": self.paired,
            "model": row.model, "seed": row.seed,
            "train_compat": row.train_compat, "compat": row.compat, "pixel_size": row.pixel_size, "run": row.run,
            "evaluation": "" if self.switch == PAPER else row.evaluation, "paper_note": row.paper_note,
        }  # fmt: skip


@dataclass(frozen=True)
class Explained(Report):
    """The report of a table's cells, each with its effects, ours first. `absent` are the cells that have no result
    under a switch which is one of theirs, or no number of the paper: no average is made of the others."""

    effects: tuple[Effect, ...] = ()
    absent: frozenset[tuple[Cell, str]] = frozenset()

    @cached_property
    def figure(self) -> Figure | None:
        return None

    @property
    def rows(self) -> list[Row]:
        """Each result once: of ours and of all switches."""
        return list({effect.row.evaluation + effect.row.metric: effect.row for effect in self.effects}.values())

    def dicts(self) -> list[dict[str, Any]]:
        found = [effect.document() for effect in self.effects]
        names = list(dict.fromkeys(name for one in found for name in one))
        return [{name: one.get(name) for name in names} for one in found]

    def newest(self) -> Report:
        return self

    def sheets(self, *, digits: int = 2) -> list[Sheet]:
        """One for each model: our line, those of the switches, and the paper's."""
        layout, groups = Layout(self.table), dict[tuple[Cell, str], list[Effect]]()
        for effect in self.effects:
            groups.setdefault((self._apart(effect.cell), effect.row.measure), []).append(effect)
        found = {effect.switch for effect in self.effects}
        notes = [f"+ {name}: {_told(name)}" for name in (*switches(), RELEASE) if name in found]
        notes += [*NOTES, *_signs(effect for effect in self.effects if effect.switch == PAPER)]
        told = partial(_sheet, layout=layout, absent=self.absent, notes=notes, digits=digits)
        return [told(cell, some) for (cell, _), some in groups.items()]

    def _apart(self, cell: Cell) -> Cell:
        """What all cells of one sheet have in common."""
        options = tuple(pair for pair in cell.options if pair[0] != self.table.columns)
        names = {self.table.columns, *(["dataset"] if self.table.cell == MEAN else [])} & {*cell._fields}
        blank: dict[str, Any] = {name: None if name == "epoch" else "" for name in names}
        return cell._replace(**{"options": options, **blank})


def averaged(effects: Sequence[Effect]) -> Effect:
    """Of one switch on several datasets: the mean difference, whose half width is that of independent test sets."""
    if len(effects) == 1:
        return effects[0]
    half = math.sqrt(sum(max(e.high - e.difference, e.difference - e.low) ** 2 for e in effects)) / len(effects)
    middle = mean(e.difference for e in effects)
    return replace(
        effects[0], value=mean(e.value for e in effects), n=sum(e.n for e in effects), difference=middle,
        low=middle - half, high=middle + half, paired=all(e.paired for e in effects),
    )  # fmt: skip


def _sheet(
    cell: Cell, effects: Sequence[Effect], layout: Layout, absent: Container[tuple[Cell, str]], *, notes: list[str],
    digits: int,
) -> Sheet:  # fmt: skip
    ours = [effect for effect in effects if effect.switch == OURS]
    rows = [effect.row for effect in ours]
    columns = sorted({layout.column(row) for row in rows}, key=lambda value: layout.place(layout.table.columns, value))
    places = {name: _by_column(effects, name, layout, absent) for name in (OURS, *switches(), RELEASE, PAPER)}
    there = {name: of for name, of in places.items() if of}
    named = {row.dataset for row in rows}
    return Sheet(
        plain(_title(cell, rows[0])),
        "What moves our number, in percent; differences from ours in points",
        "switch",
        [plain(line) for line in _circumstances(rows, named)],
        [plain(value_words(layout.table.columns, value)) for value in columns],
        [line for name, of in there.items() for line in _lines(name, [of.get(column) for column in columns], digits)],
        [plain(line) for line in _remarks(there, columns)],
        notes,
    )


def _by_column(
    effects: Iterable[Effect], name: str, layout: Layout, absent: Container[tuple[Cell, str]]
) -> dict[Any, Effect]:
    """The effect of a switch in each column; over datasets, where the column is a mean over them, on those it is of:
    where it changes nothing it moves by 0."""
    found: dict[Any, dict[str, Effect]] = {}
    for effect in effects:
        if effect.switch in (OURS, name):
            still = replace(effect, paired=True) if effect.switch == OURS else effect
            found.setdefault(layout.column(effect.row), {})[effect.cell.dataset] = still
    return {
        column: averaged(list(of.values()))
        for column, of in found.items()
        if any(e.switch == name for e in of.values()) and not any((e.cell, name) in absent for e in of.values())
    }


def _lines(name: str, effects: Sequence[Effect | None], digits: int) -> list[Printed]:
    label = name if name in (OURS, PAPER) else f"+ {name}"
    signs = [marks(e.row) if e and name == PAPER else "" for e in effects]
    values = [NONE if e is None else percent(e.value) + sign for e, sign in zip(effects, signs, strict=True)]
    if name == OURS:
        ends = [NONE if e is None else "–".join(percent(end, digits) for end in e.row.ci95) for e in effects]
        return [Printed("value", label, values), Printed("detail", "95% interval", ends)]
    differences = [NONE if e is None else _points(e.difference) + MOVES * e.moves for e in effects]
    ends = [NONE if e is None else f"{_points(e.low, digits)} to {_points(e.high, digits)}" for e in effects]
    return [
        Printed("value", label, values),
        Printed("detail", "difference", differences),
        Printed("detail", "95% interval", ends),
    ]


def _points(fraction: float, digits: int = 2) -> str:
    text = f"{100 * fraction:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def _title(cell: Cell, row: Row) -> str:
    """ "mmcoa, 5-shot from imagenet · dtd · text attack · ViT-B-32"."""
    trained = [cell.method, *([value_words("shots", cell.shots)] if cell.shots else [])]
    trained += [f"{name.replace('_', ' ')} {value}" for name, value in cell.training]
    source = f" from {cell.source}" if cell.source and cell.source != cell.dataset else ""
    epoch = [f"epoch {cell.epoch}"] if cell.epoch else []
    about = [
        ", ".join(trained) + source,
        *epoch,
        *filter(None, [cell.dataset, cell.attack and attack_name(cell.attack)]),
    ]
    return " · ".join([*about, *(f"{name} {value}" for name, value in cell.options), model_name(row)])


def _circumstances(rows: Sequence[Row], named: Iterable[str]) -> list[str]:
    counts, datasets = {row.n for row in rows}, len({*named})
    images = f"{max(counts):,} test images" if len(counts) == 1 else f"up to {max(counts):,} test images"
    over = [f"{datasets} datasets"] if datasets > 1 else []
    return [", ".join([*over, images, *setting(rows)]), *in_words(rows, sized=datasets == 1)]


def _remarks(there: Mapping[str, Mapping[Any, Effect]], columns: Sequence[Any]) -> list[str]:
    """In words: which switches move a number, and which are none of this sheet."""
    alone = {name: of for name, of in there.items() if name not in (OURS, RELEASE, PAPER)}
    found = []
    for column in columns:
        moved = {name: of[column].difference for name, of in alone.items() if column in of and of[column].moves}
        if moved:
            found.append(f"{column}: {', '.join(f'{name} ({_points(by)})' for name, by in moved.items())}")
    still = [name for name, of in alone.items() if not any(effect.moves for effect in of.values())]
    absent = [name for name in switches() if name not in there]
    return [
        *(["moved by more than the choice of images may: " + "; ".join(found)] if found else []),
        *(["moved by no more than the choice of images may: " + ", ".join(still)] if still else []),
        *(["none of these results has a use for: " + ", ".join(absent)] if absent else []),
        *([] if PAPER in there else ["the paper has no number beside these"]),
    ]


def _told(name: str) -> str:
    if name == RELEASE:
        parts = [one.name for one in switches().values() if not one.together]
        return "all of these together" + (f", but for {', '.join(parts)}" if parts else "")
    return switches()[name].title


def _signs(papers: Iterable[Effect]) -> list[str]:
    found = "".join(marks(effect.row) for effect in papers)
    return [text for sign, text in EXPLANATIONS.items() if len(sign) == 1 and sign in found]
