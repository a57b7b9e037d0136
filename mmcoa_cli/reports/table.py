"""A report on the terminal: a table for each section, in panels where it is too wide, and no percent ever broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from store.printable import visible

from ..terminal.console import Terminal, out
from .content import Report
from .paper import NOTES
from .sheet import Sheet
from .wording import EXPLANATIONS, plain

STYLES = {"value": "bold", "detail": "dim"}
GAP = 2  # columns of the terminal between two cells, one of them the box's
LABEL = 14  # the least that labels are wrapped to


def print_table(report: Report) -> None:
    """Print the report on stdout, with colours on a terminal."""
    if out.is_terminal:
        _print(out, report)
    else:
        out.file.write(text_table(report, width=out.width))


def text_table(report: Report, *, width: int) -> str:
    """The same as text without colours, `width` columns wide or as few more as its figures need."""
    text = StringIO()
    console = Terminal(file=text, width=width, color_system=None, force_terminal=False)
    _print(console, report)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _print(console: Console, report: Report) -> None:
    shown = report.sheets()
    if max(map(_least_width, shown)) > console.width:
        shown = report.sheets(digits=1)
    narrowest = max(_narrowest(sheet) for sheet in shown)
    if narrowest > console.width:  # better lines that the terminal wraps than figures cut off
        console = Terminal(file=console.file, width=narrowest)
    captions = {sheet.caption for sheet in shown}
    notes = sorted({note for sheet in shown for note in sheet.notes}, key=EXPLANATIONS.index)
    console.print(
        Text(report.table.title, style="bold"),
        *(_text(caption, "dim") for caption in captions if len(captions) == 1),
        *(_section(sheet, console.width, captioned=len(captions) > 1) for sheet in shown),
        *([Text(), *(_text(note, "dim") for note in notes)] if notes else []),
        sep="\n",
    )
    if report.missing and (below := report.missing.lines()):  # commands to copy: the terminal may wrap them, we do not
        console.print(Text(), *(_text(plain(line), "dim") for line in below), sep="\n", soft_wrap=True)


def _least_width(sheet: Sheet) -> int:
    """What the table needs in one panel; its labels may be wrapped, its figures not."""
    return LABEL + sum(GAP + len(column[0]) for column in _columns(sheet))


def _narrowest(sheet: Sheet) -> int:
    """What it needs in as many panels as it has columns."""
    return LABEL + max([0, *(GAP + len(column[0]) for column in _columns(sheet))])


def _panels(sheet: Sheet, width: int) -> list[Sheet]:
    """The sheet with as many columns as fit `width`, with the next ones, and so on; labels are wrapped to fit first."""
    if _least_width(sheet) <= width:
        return [sheet]
    longest = max(len(line.label) + (0 if line.kind == "value" else 2) for line in sheet.lines)
    label = max(LABEL, min(longest, width // 3))
    panels: list[list[int]] = [[]]
    used = label
    for number, column in enumerate(_columns(sheet)):
        if panels[-1] and used + GAP + len(column[0]) > width:
            panels.append([])
            used = label
        panels[-1].append(number)
        used += GAP + len(column[0])
    return [_only(sheet, numbers) for numbers in panels]


def _only(sheet: Sheet, numbers: Sequence[int]) -> Sheet:
    """The sheet with the columns of these numbers."""
    lines = [replace(line, cells=[line.cells[number] for number in numbers]) for line in sheet.lines]
    return replace(sheet, columns=[sheet.columns[number] for number in numbers], lines=lines)


def _columns(sheet: Sheet) -> list[list[str]]:
    """Each attack's column, its name first; figures end below each other, and signs hang behind them where there is
    room."""
    columns = []
    for attack, *cells in zip(sheet.columns, *(line.cells for line in sheet.lines), strict=True):
        width = max(map(len, (attack, *cells)))
        signs = [len(cell) - len(cell.rstrip("".join(NOTES))) for cell in cells]
        room = [min(max(signs) - own, width - len(cell)) for cell, own in zip(cells, signs, strict=True)]
        padded = [cell + " " * spaces for cell, spaces in zip(cells, room, strict=True)]
        columns.append([cell.rjust(width) for cell in (attack, *padded)])
    return columns


def _section(sheet: Sheet, width: int, *, captioned: bool) -> RenderableType:
    said = [*([sheet.caption] if captioned else []), *sheet.circumstances]
    head = [Text(), _text(sheet.title, "bold cyan"), *(_text(line, "dim") for line in said)]
    tables = [part for panel in _panels(sheet, width) for part in (Text(), _table(panel))]
    foot = [Text(), *(_text(line, "dim") for line in sheet.remarks)] if sheet.remarks else []
    return Group(*head, *tables, *foot)


def _table(sheet: Sheet) -> Table:
    columns = _columns(sheet)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", min_width=LABEL)
    for column in columns:
        table.add_column(_text(column[0]), no_wrap=True)
    for number, line in enumerate(sheet.lines):
        if number and line.kind == "value":
            table.add_row()
        label = line.label if line.kind == "value" else f"  {line.label}"
        cells = [_text(column[number + 1]) for column in columns]
        table.add_row(_text(label), *cells, style=STYLES[line.kind])
    return table


def _text(line: str, style: str = "") -> Text:
    """One line, also where a name from elsewhere holds a newline."""
    return Text(visible(line), style=style)
