"""A panel in words: one table with all that is said around it, the same for the terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len

from store.printable import visible

from ..tasks import TASKS
from ..tasks.classification import CLASSIFICATION
from .lines import value_words
from .measured import AVERAGE
from .paper import NOTES
from .pivot import Panel
from .printed import MEAN, Grid, Printed, printed_lines
from .rows import Row
from .threats import attack_name, in_words
from .wording import EXPLANATIONS, in_percent, model_name, overestimates, part_of, plain, setting, trainings

PART = "*"


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
    marked: bool = False  # whether any of its values is the best of several

    @cached_property
    def widths(self) -> list[int]:
        """How many columns of a terminal each of its columns takes."""
        columns = zip(self.columns, *(line.cells for line in self.lines), strict=True)
        return [max(map(cell_len, (visible(name), *cells))) for name, *cells in columns]


def sheet_of(panel: Panel, *, seeds: bool = False, digits: int = 2, beside: Sequence[Row] = ()) -> Sheet:
    """The panel in words; the ends of intervals have `digits` decimals, all other percentages two. What stands `beside`
    it, in the same report, is compared with its lines."""
    grid = Grid(panel, seeds, digits)
    lines = printed_lines(grid)
    return Sheet(
        plain(_title(panel)),
        caption(panel),
        "method" if "method" in panel.table.lines else panel.table.lines[0],
        [plain(line) for line in _circumstances(grid)],
        [plain(name) for name in _columns(grid)],
        lines,
        [plain(line) for line in [*trainings(panel.lines), *overestimates(panel.lines, beside)]],
        _notes(grid, "".join(cell for line in lines for cell in line.cells)),
        any(line.best for line in lines),
    )


def caption(panel: Panel) -> str:
    """What the numbers are."""
    row, free = panel.first, panel.layout.free
    if "attack" in free:
        measured = "Each metric, clean and" if "metric" in free else f"Clean {row.measure}, and robust {row.measure}"
        return f"{measured} under each attack{in_percent(row)}"
    under = f" under the {attack_name(row.attack)}" if row.threat.parts else ""
    several = len({row.metric for row in panel.rows}) > 1
    return f"{'Each metric' if several else panel.metric.capitalize()}{under}{in_percent(row)}"


def about(panel: Panel) -> str:
    """What was trained and tested: the beginning of a title."""
    row = panel.first
    told = [row.dataset] if panel.has("dataset") else []
    told += [row.method] if panel.has("method") else []
    if panel.has("source"):
        source, shots = panel.fields["source"], panel.fields.get("shots")
        trained = ", ".join([f"trained on {source}", *([value_words("shots", shots)] if shots else [])])
        told.append(trained if source else "zero-shot")
    return " · ".join([*told, *([] if "model" in panel.layout.free else [model_name(row)])])


def _title(panel: Panel) -> str:
    row, table = panel.first, panel.table
    if not panel.has("attack"):
        return about(panel)
    papers = row.attack in table.paper and panel.fields.get("source", "") in ("", *table.sources)
    number = f" (Table {table.paper[row.attack]})" if papers else ""
    return f"{about(panel)} · {attack_name(row.attack)}{number}"


def _circumstances(grid: Grid) -> list[str]:
    """What was measured on, a line for each part of the threat model, and what is unusual about a dataset."""
    panel, one, left_out = grid.panel, grid.panel.has("dataset"), grid.panel.left_out
    return [
        ", ".join([*(_images(panel) if one else _subsets(panel)), *setting(panel.rows)]),
        *in_words(panel.rows, sized=one),
        *(f"{name}{PART}: only a part of the dataset, {part}" for name, part in _parts(panel).items()),
        *([f"not in the average: {', '.join(panel.others)}"] if grid.averaged and panel.others else []),
        *([f"{left_out} result{'s' if left_out > 1 else ''} on fewer datasets left out"] if left_out else []),
    ]


def _images(panel: Panel) -> list[str]:
    row = panel.first
    task = TASKS.get(row.task, CLASSIFICATION)  # one of a plugin may not be here
    return [
        f"{row.n:,} test {task.counted(row.metric)}",
        *([task.subset] if row.limit is not None else []),
        *([f"only a part of the dataset ({row.part})"] if row.part else []),
        *(["some classes without any"] if row.partial and not row.part else []),
        *([f"data {panel.data}"] if panel.data else []),
    ]


def _subsets(panel: Panel) -> list[str]:
    several = "averages of 1 dataset" if len(panel.datasets) == 1 else f"averages of {len(panel.datasets)} datasets"
    over = [f"{several} ({', '.join(panel.datasets)})"] if panel.datasets else []
    return [
        *over,
        *([f"class-balanced subsets of up to {panel.limit:,} test images"] if panel.limit is not None else []),
    ]


def _parts(panel: Panel) -> dict[str, str]:
    """The datasets that are there only in part, and what there is of them; none where the panel is of one dataset."""
    return {} if panel.has("dataset") else {row.dataset: part for row in panel.rows if (part := part_of(row))}


def _columns(grid: Grid) -> list[str]:
    panel, parts = grid.panel, set(_parts(grid.panel)) if grid.over_datasets else set()
    whole = len(panel.columns) == len(panel.table.datasets)
    middle = f"{AVERAGE} of" if grid.counted else AVERAGE if whole else f"{AVERAGE} of {len(panel.columns)}"
    names = {MEAN: middle + (PART if parts & set(panel.columns) else "")}
    for place in (*panel.columns, *panel.others):
        names[place] = value_words(panel.table.columns, place) + (PART if place in parts else "")
    return [names[place] for place in grid.places]


def _notes(grid: Grid, printed: str) -> list[str]:
    """The explanations that a panel and its `printed` cells call for."""
    rows = grid.panel.rows
    called = {
        "behind": any(row.behind and row.behind.p is not None for row in rows),
        "widths": not grid.ends,
        "averages": grid.averaged or bool(grid.panel.datasets),
        "unequal": grid.counted,
        "seeds": grid.several and not grid.ends,
        **{sign: sign in printed for sign in NOTES},
        "collisions": any(row.collisions is not None for row in rows),
        "distinct": any(row.shares_prompts for row in rows),
        "success": any(row.own_success for row in rows),
        "release": any(row.train_compat == "release" for row in rows),
        "parts": any(row.train_compat not in ("none", "release") for row in rows),
    }
    return [EXPLANATIONS[name] for name, wanted in called.items() if wanted]
