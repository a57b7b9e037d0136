"""A grid in words: the datasets' columns, the average, and what each number was measured on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from .. import catalog
from .averages import NAME, Average, average
from .grid import Grid, grids
from .rows import Row
from .sections import Line
from .wording import (
    AVERAGES,
    NONE,
    SEEDS,
    UNEQUAL,
    WIDTHS,
    Printed,
    Sheet,
    collisions,
    deviation,
    distinct,
    image_attack,
    model_name,
    notes,
    paper_cell,
    part_of,
    percent,
    plain,
    setting,
    shares_prompts,
    text_attack,
    trainings,
)

PART = "*"


def grid_sheets(rows: Sequence[Row], *, task: catalog.TableRow, seeds: bool = False) -> list[Sheet]:
    """The grids of `rows` in words."""
    measured = [row for row in rows if row.evaluation]  # a figure's rows have averages among them
    return [_sheet(grid, task, seeds=seeds) for grid in grids(measured, task=task, seeds=seeds)]


def _sheet(grid: Grid, task: catalog.TableRow, *, seeds: bool) -> Sheet:
    averages = [average(line, grid.datasets) for line in grid.lines] if len(grid.datasets) > 1 else []
    lines = _test_sets(grid, averaged=bool(averages))
    for number, line in enumerate(grid.lines):
        cells = [[line.cells.get(name, []) for name in names] for names in (grid.datasets, grid.others)]
        lines += _value_lines(line, cells, averages[number : number + 1], counted=_counted(averages), seeds=seeds)
    return Sheet(
        plain(_title(grid, task)),
        _caption(grid.rows[0].attack),
        [plain(line) for line in _circumstances(grid, averaged=bool(averages))],
        [plain(name) for name in _columns(grid, averages, task)],
        lines,
        [plain(line) for line in trainings(grid.lines)],
        [*_own_notes(grid, averages), *notes(grid.rows, lines)],
    )


def _title(grid: Grid, task: catalog.TableRow) -> str:
    row = grid.rows[0]
    papers = row.attack in task.paper and grid.source in ("", *task.sources)
    table = f" (Table {task.paper[row.attack]})" if papers else ""
    source = f"trained on {grid.source}" if grid.source else "zero-shot"
    return f"{source} · {model_name(row)} · {attack_name(row.attack)}{table}"


def attack_name(attack: str) -> str:
    return "clean" if attack == "clean" else f"{attack} attack"


def _caption(attack: str) -> str:
    measure = "Clean accuracy" if attack == "clean" else f"Robust accuracy under the {attack} attack"
    return f"{measure}, in percent"


def _circumstances(grid: Grid, *, averaged: bool) -> list[str]:
    """The subset and the seeds, a line for each attack, and what is unusual about a dataset's column."""
    subset = [f"class-balanced subsets of up to {grid.limit:,} test images"] if grid.limit is not None else []
    image = next((row for row in grid.rows if row.norm is not None), None)
    text = next((row for row in grid.rows if row.mlm is not None), None)
    parts = _parts(grid)
    return [
        ", ".join([*subset, *setting(grid.rows)]),
        *([image_attack(image)] if image else []),
        *([text_attack(text)] if text else []),
        *(f"{name}{PART}: only a part of the dataset, {part}" for name, part in parts.items()),
        *([f"not in the average: {', '.join(grid.others)}"] if averaged and grid.others else []),
    ]


def _columns(grid: Grid, averages: Sequence[Average | None], task: catalog.TableRow) -> list[str]:
    """The datasets of the task, their average, the user's own."""
    parts = set(_parts(grid))
    names = [[name + (PART if name in parts else "") for name in some] for some in (grid.datasets, grid.others)]
    if not averages:
        return [*names[0], *names[1]]
    whole = len(grid.datasets) == len(task.datasets)
    title = f"{NAME} of" if _counted(averages) else NAME if whole else f"{NAME} of {len(grid.datasets)}"
    return [*names[0], title + (PART if parts & set(grid.datasets) else ""), *names[1]]


def _counted(averages: Sequence[Average | None]) -> bool:
    """Whether lines have averages over different datasets, so that each must say over how many."""
    return len({found.datasets if found else () for found in averages}) > 1


def _parts(grid: Grid) -> dict[str, str]:
    """The datasets that are there only in part, and what there is of them."""
    return {name: part for name in (*grid.datasets, *grid.others) if (part := part_of(grid.of(name)))}


def _test_sets(grid: Grid, *, averaged: bool) -> list[Printed]:
    """A line for the number of test images and one for the side of those that were attacked."""
    columns = [*map(grid.of, grid.datasets), *([None] if averaged else []), *map(grid.of, grid.others)]
    lines = [
        Printed("detail", "test images", [f"{row.n:,}" if row else "" for row in columns]),
        Printed("detail", "pixels a side", [str(row.pixel_size or NONE) if row else "" for row in columns]),
    ]
    return lines if any(row.pixel_size for row in grid.rows) else lines[:1]


def _value_lines(
    line: Line, cells: list[list[list[Row]]], averages: Sequence[Average | None], *, counted: bool, seeds: bool
) -> list[Printed]:
    """A run's accuracies, their uncertainty, the paper's numbers, collisions; the average between the two `cells`."""
    own, others = cells
    every = [cell for some in cells for cell in some]

    def printed(kind: str, label: str, of: Sequence[str], middle: str, after: Sequence[str]) -> Printed:
        return Printed(kind, label, [*of, *([middle] if averages else []), *after])

    found = averages[0] if averages else None
    several = max(map(len, every)) > 1
    spread = _deviation if several else _half
    middle = NONE if found is None else deviation(found.by_seed) if several else f"±{percent(found.half)}"
    label = "sd (seeds)" if several else "95%, 1 seed" if seeds else "95%"
    lines = [
        printed("value", plain(line.label), [*map(_value, own)], _average(found, counted), [*map(_value, others)]),
        printed("detail", label, [*map(spread, own)], middle, [*map(spread, others)]),
    ]
    if any(row.paper is not None for cell in every for row in cell):
        middle = NONE if found is None or found.paper is None else percent(found.paper) + found.paper_marks
        lines.append(printed("detail", "paper", [*map(_paper, own)], middle, [*map(_paper, others)]))
    if any(row.collisions for cell in every for row in cell):
        lines.append(printed("detail", "collisions", [*map(collisions, own)], "", [*map(collisions, others)]))
    if any(shares_prompts(row) for cell in every for row in cell):
        lines.append(printed("detail", "distinct", [*map(distinct, own)], "", [*map(distinct, others)]))
    return lines


def _average(found: Average | None, counted: bool) -> str:
    if found is None:
        return NONE
    return (f"{len(found.datasets)}: " if counted else "") + percent(found.value)


def _value(cell: list[Row]) -> str:
    return percent(mean(row.value for row in cell)) if cell else NONE


def _half(cell: list[Row]) -> str:
    """The larger side of the interval."""
    return f"±{percent(max(cell[0].ci95[1] - cell[0].value, cell[0].value - cell[0].ci95[0]))}" if cell else NONE


def _deviation(cell: list[Row]) -> str:
    return deviation([row.value for row in cell])


def _paper(cell: list[Row]) -> str:
    return paper_cell(cell[0]) if cell else NONE


def _own_notes(grid: Grid, averages: Sequence[Average | None]) -> list[str]:
    """What the widths, the averages and the deviations are."""
    several = any(len(cell) > 1 for line in grid.lines for cell in line.cells.values())
    called = (True, bool(averages), _counted(averages), several)
    return [text for text, wanted in zip((WIDTHS, AVERAGES, UNEQUAL, SEEDS), called, strict=True) if wanted]
