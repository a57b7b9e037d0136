"""A report on the terminal: a table for each section, as wide as it must be and no percent ever broken."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .. import catalog
from ..console import out
from . import wording
from .paper import NOTES
from .rows import Row
from .wording import Sheet

STYLES = {"value": "bold", "detail": "dim"}
GAP = 2  # columns of the terminal between two cells, one of them the box's
LABEL = 14  # the least that labels are wrapped to


def print_table(rows: Sequence[Row], *, task: catalog.TaskRow, seeds: bool = False) -> None:
    """Print the table of `rows` on stdout, with colours on a terminal."""
    if out.is_terminal:
        _print(out, rows, task=task, seeds=seeds)
    else:
        out.file.write(text_table(rows, task=task, seeds=seeds, width=out.width))


def text_table(rows: Sequence[Row], *, task: catalog.TaskRow, seeds: bool, width: int) -> str:
    """The same as text without colours, `width` columns wide or as few more as its figures need."""
    text = StringIO()
    _print(Console(file=text, width=width, color_system=None, force_terminal=False), rows, task=task, seeds=seeds)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _print(console: Console, rows: Sequence[Row], *, task: catalog.TaskRow, seeds: bool) -> None:
    sheets = wording.sheets(rows, task=task, seeds=seeds)
    if _least_width(sheets) > console.width:
        sheets = wording.sheets(rows, task=task, seeds=seeds, digits=1)
    if _least_width(sheets) > console.width:  # better lines that the terminal wraps than figures cut off
        console = Console(file=console.file, width=_least_width(sheets), highlight=False)
    notes = [note for note in wording.EXPLANATIONS if any(note in sheet.notes for sheet in sheets)]
    console.print(
        Text(task.title, style="bold"),
        Text(wording.CAPTION, style="dim"),
        *(_section(sheet) for sheet in sheets),
        *([Text(), *(Text(note, style="dim") for note in notes)] if notes else []),
        sep="\n",
    )


def _least_width(sheets: Sequence[Sheet]) -> int:
    """What the widest table needs; its labels may be wrapped, its figures not."""
    return max([LABEL, *(LABEL + sum(GAP + len(column[0]) for column in _columns(sheet)) for sheet in sheets)])


def _columns(sheet: Sheet) -> list[list[str]]:
    """Each attack's column, its name first; figures end below each other, and signs hang behind them where there is
    room."""
    columns = []
    for attack, *cells in zip(sheet.attacks, *(line.cells for line in sheet.lines), strict=True):
        width = max(map(len, (attack, *cells)))
        signs = [len(cell) - len(cell.rstrip("".join(NOTES))) for cell in cells]
        room = [min(max(signs) - own, width - len(cell)) for cell, own in zip(cells, signs, strict=True)]
        padded = [cell + " " * spaces for cell, spaces in zip(cells, room, strict=True)]
        columns.append([cell.rjust(width) for cell in (attack, *padded)])
    return columns


def _section(sheet: Sheet) -> RenderableType:
    columns = _columns(sheet)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", min_width=LABEL)
    for column in columns:
        table.add_column(column[0], no_wrap=True)
    for number, line in enumerate(sheet.lines):
        if number and line.kind == "value":
            table.add_row()
        label = line.label if line.kind == "value" else f"  {line.label}"
        cells = [Text(column[number + 1]) for column in columns]
        table.add_row(Text(label), *cells, style=STYLES[line.kind])
    head = [Text(), Text(sheet.title, style="bold cyan"), *(Text(line, style="dim") for line in sheet.circumstances)]
    foot = [Text(), *(Text(line, style="dim") for line in sheet.trainings)] if sheet.trainings else []
    return Group(*head, Text(), table, *foot)
