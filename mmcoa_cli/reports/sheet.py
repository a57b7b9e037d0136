"""A panel in words: one table with all that is said around it, the same for the terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import threats
from .lines import Line, value_words
from .measured import AVERAGE, Measured, average, in_cell
from .pivot import Panel
from .rows import Row
from .upper_bounds import remarks
from .wording import (
    AVERAGES,
    NONE,
    SEEDS,
    UNEQUAL,
    WIDTHS,
    collisions,
    deviation,
    distinct,
    model_name,
    notes,
    paper_full,
    part_of,
    percent,
    plain,
    setting,
    shares_prompts,
    trainings,
)  # fmt: skip

PART = "*"


@dataclass(frozen=True)
class Printed:
    """One printed line: its `kind` is "value" (of a run) or "detail" (what stands below it)."""

    kind: str
    label: str
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """A table in words. `remarks` are about its lines; `notes` explain signs and may repeat in others."""

    title: str
    caption: str
    heading: str  # above the labels, where a format needs a word there
    circumstances: list[str]
    columns: list[str]
    lines: list[Printed]
    remarks: list[str]
    notes: list[str]


def sheet_of(panel: Panel, *, seeds: bool = False, digits: int = 2, beside: Sequence[Row] = ()) -> Sheet:
    """The panel in words; the ends of intervals have `digits` decimals, all other percentages two. What stands `beside`
    it, in the same report, is compared with its lines."""
    shown = _Shown(panel, seeds=seeds, digits=digits)
    lines = shown.lines()
    return Sheet(
        plain(_title(panel)),
        caption(panel),
        "method" if "method" in panel.table.lines else panel.table.lines[0],
        [plain(line) for line in [*_circumstances(panel, averaged=shown.averaged), *shown.left_out()]],
        [plain(name) for name in shown.columns()],
        lines,
        [plain(line) for line in [*trainings(panel.lines), *remarks(panel.lines, [*panel.rows, *beside])]],
        [*shown.notes(), *notes(panel.rows, [cell for line in lines for cell in line.cells])],
    )


def caption(panel: Panel) -> str:
    """What the numbers are."""
    row = panel.first
    if not panel.has("attack"):
        return f"Clean {row.measure}, and robust {row.measure} under each attack, in percent"
    under = f" under the {threats.attack_name(row.attack)}" if row.threat else ""
    return f"{row.metric.replace('_', ' ').capitalize()}{under}, in percent"


def about(panel: Panel) -> str:
    """What was trained and tested: the beginning of a title."""
    row = panel.first
    told = [row.dataset] if panel.has("dataset") else []
    told += [row.method] if panel.has("method") else []
    if panel.has("source"):
        source, shots = panel.fields["source"], panel.fields.get("shots")
        told.append(
            ", ".join([f"trained on {source}", *([value_words("shots", shots)] if shots else [])])
            if source
            else "zero-shot"
        )
    return " · ".join([*told, model_name(row)])


def _title(panel: Panel) -> str:
    row, table = panel.first, panel.table
    if not panel.has("attack"):
        return about(panel)
    papers = row.attack in table.paper and panel.fields.get("source", "") in ("", *table.sources)
    number = f" (Table {table.paper[row.attack]})" if papers else ""
    return f"{about(panel)} · {threats.attack_name(row.attack)}{number}"


def _circumstances(panel: Panel, *, averaged: bool) -> list[str]:
    """What was measured on, a line for each part of the threat model, and what is unusual about a dataset."""
    rows, one = panel.rows, panel.has("dataset")
    return [
        ", ".join([*(_images(panel) if one else _subsets(panel)), *setting(rows)]),
        *threats.lines(rows, sized=one),
        *(f"{name}{PART}: only a part of the dataset, {part}" for name, part in _parts(panel).items()),
        *([f"not in the average: {', '.join(panel.others)}"] if averaged and panel.others else []),
    ]


def _images(panel: Panel) -> list[str]:
    row = panel.first
    return [
        f"{row.n:,} test images",
        *(["a class-balanced subset"] if row.limit is not None else []),
        *([f"only a part of the dataset ({row.part})"] if row.part else []),
        *(["some classes without any"] if row.partial and not row.part else []),
        *([f"data {panel.data}"] if panel.data else []),
    ]


def _subsets(panel: Panel) -> list[str]:
    over = [f"averages of {len(panel.datasets)} datasets ({', '.join(panel.datasets)})"] if panel.datasets else []
    return [
        *over,
        *([f"class-balanced subsets of up to {panel.limit:,} test images"] if panel.limit is not None else []),
    ]


def _parts(panel: Panel) -> dict[str, str]:
    """The datasets that are there only in part, and what there is of them; none where the panel is of one dataset."""
    return {} if panel.has("dataset") else {row.dataset: part for row in panel.rows if (part := part_of(row))}


class _Shown:
    """The columns and lines of one sheet, as they are printed: the table's columns, an average, the user's own."""

    def __init__(self, panel: Panel, *, seeds: bool, digits: int) -> None:
        self.panel, self.seeds, self.digits = panel, seeds, digits
        self.over_datasets = panel.table.columns == "dataset"
        self.averaged = self.over_datasets and len(panel.columns) > 1
        self.averages = [average(line.rows, panel.columns) for line in panel.lines] if self.averaged else []
        # whether lines have averages over different datasets, so that each must say over how many
        self.counted = len({found.datasets if found else () for found in self.averages}) > 1
        self.ends = not (self.over_datasets or panel.datasets)  # both ends of intervals, not only their width
        self.several = False

    def columns(self) -> list[str]:
        panel, parts = self.panel, set(_parts(self.panel))
        own, others = (
            [
                value_words(panel.table.columns, name) + (PART if self.over_datasets and name in parts else "")
                for name in names
            ]
            for names in (panel.columns, panel.others)
        )
        if not self.averaged:
            return [*own, *others]
        whole = len(panel.columns) == len(panel.table.datasets)
        title = f"{AVERAGE} of" if self.counted else AVERAGE if whole else f"{AVERAGE} of {len(panel.columns)}"
        return [*own, title + (PART if parts & set(panel.columns) else ""), *others]

    def lines(self) -> list[Printed]:
        """A run's accuracies, their uncertainty, the paper's numbers, collisions."""
        found = self._test_sets() if self.over_datasets else []
        for number, line in enumerate(self.panel.lines):
            found += self._line(line, self.averages[number] if self.averages else None)
            later = [other.first.method for other in self.panel.lines[number + 1 :]]
            if line.first.method not in later:
                found += self._reference(line.first.method)
        return found

    def left_out(self) -> list[str]:
        count = self.panel.left_out
        return [f"{count} result{'s' if count > 1 else ''} on fewer datasets left out"] if count else []

    def notes(self) -> list[str]:
        """What the widths, the averages and the deviations are."""
        averages = bool(self.averages or self.panel.datasets)
        called = (not self.ends, averages, self.counted, self.several and not self.ends)
        return [text for text, wanted in zip((WIDTHS, AVERAGES, UNEQUAL, SEEDS), called, strict=True) if wanted]

    def _line(self, line: Line, middle: Measured | None) -> list[Printed]:
        panel = self.panel
        own, others = ([in_cell(panel, line, name) for name in names] for names in (panel.columns, panel.others))
        cells = [*own, *others]
        several = any(cell and len(cell.by_seed) > 1 for cell in cells)
        self.several |= several

        def spread(cell: Measured | None) -> str:
            if cell is None:
                return NONE
            if several:
                return deviation(cell.by_seed)
            return (
                f"±{percent(cell.half)}"
                if not self.ends
                else "–".join(percent(e, self.digits) for e in (cell.low, cell.high))
            )

        def paper(cell: Measured | None) -> str:
            return NONE if cell is None or cell.paper is None else percent(cell.paper) + cell.paper_marks

        def printed(kind: str, label: str, of: Sequence[str], average_of: str = "") -> Printed:
            return Printed(kind, label, [*of[: len(own)], *([average_of] if self.averaged else []), *of[len(own) :]])

        counted = f"{len(middle.datasets)}: " if self.counted and middle else ""
        usual = "95% interval" if self.ends else "95%"
        values = [percent(cell.value) if cell else NONE for cell in cells]
        lines = [
            printed("value", plain(line.label), values, counted + percent(middle.value) if middle else NONE),
            printed("detail", "sd (seeds)" if several else "95%, 1 seed" if self.seeds else usual,
                    [*map(spread, cells)], spread(middle)),
        ]  # fmt: skip
        rows = [list(cell.rows) if cell else [] for cell in cells]
        if any(row.paper is not None for of in rows for row in of):
            lines.append(printed("detail", "paper", [*map(paper, cells)], paper(middle)))
        if not panel.datasets and any(row.collisions for of in rows for row in of):
            lines.append(printed("detail", "collisions", [*map(collisions, rows)]))
        if not panel.datasets and any(shares_prompts(row) for of in rows for row in of):
            lines.append(printed("detail", "distinct", [*map(distinct, rows)]))
        return lines

    def _test_sets(self) -> list[Printed]:
        """A line for the number of test images and one for the side of those that were attacked."""
        panel = self.panel
        of = {row.dataset: row for row in reversed(panel.rows)}
        rows: list[Row | None] = [
            *map(of.get, panel.columns),
            *([None] if self.averaged else []),
            *map(of.get, panel.others),
        ]
        lines = [
            Printed("detail", "test images", [f"{row.n:,}" if row else "" for row in rows]),
            Printed("detail", "pixels a side", [str(row.pixel_size or NONE) if row else "" for row in rows]),
        ]
        return lines if any(row.pixel_size for row in panel.rows) else lines[:1]

    def _reference(self, method: str) -> list[Printed]:
        """The paper's numbers after full training, where it has no others and ours of that method saw fewer images."""
        panel = self.panel
        rows = [row for row in panel.rows if row.method == method]
        numbers = {row.get(panel.table.columns): paper_full(row) for row in rows if row.paper_full is not None}
        if not self.ends or not numbers or any(row.shots == "full" for row in rows):
            return []
        return [Printed("detail", "paper, full", [numbers.get(name, NONE) for name in (*panel.columns, *panel.others)])]
