"""A report on the terminal: a table for each section, in panels where it is too wide, and no percent ever broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from rich.cells import cell_len

from store.printable import visible

from ..terminal.console import out
from ..terminal.lines import Styled, folded, plain_text, print_lines
from .content import Report
from .paper import NOTES
from .sheet import Sheet
from .wording import BOLD, EXPLANATIONS, plain

STYLES = {"value": "", "detail": "dim"}
GAP = 2  # columns of the terminal between two cells
LABEL = 14  # the least that labels are wrapped to
BLANK = ("", "", ())
OLDER = (
    "The newest of each, {:,} results; {:,} older ones are not shown. All of them: --output report.txt, or --format csv"
)


def print_table(report: Report) -> None:
    """Print the report on stdout."""
    print_lines(_lines(report, out.width, marks=out.is_terminal and not out.is_dumb_terminal))


def text_table(report: Report, *, width: int) -> str:
    """The report as text without colours, `width` columns wide or as few more as its figures need."""
    return plain_text(_lines(report, width))


def _lines(report: Report, width: int, *, marks: bool = False) -> Iterator[Styled]:
    sheets = report.sheets()
    if max(map(_least_width, sheets)) > width:
        sheets = report.sheets(digits=1)
    width = max(width, *map(_narrowest, sheets))  # better lines that the terminal wraps than figures cut off
    captions = {sheet.caption for sheet in sheets}
    known = {text: number for number, text in enumerate(EXPLANATIONS.values())}
    notes = list(dict.fromkeys(note for sheet in sheets for note in sheet.notes))
    notes.sort(key=lambda note: known.get(note, -1))
    yield from _wrapped([report.title], width, "bold")
    yield from _wrapped(captions if len(captions) == 1 else [], width)
    for sheet in sheets:
        yield BLANK
        yield from _wrapped([sheet.title], width, "bold cyan")
        yield from _wrapped([*([sheet.caption] if len(captions) > 1 else []), *sheet.circumstances], width)
        for part in _panels(sheet, width):
            yield BLANK
            yield from _table(part, width)
        yield from _paragraph(sheet.remarks, width)
    marked = marks and any(sheet.marked for sheet in sheets)
    yield from _paragraph([*([BOLD] if marked else []), *notes], width)
    if report.older:
        yield from _paragraph([OLDER.format(len(report.results), report.older)], width)
    if report.missing and (below := report.missing.lines()):
        yield BLANK
        yield from ((plain(line), "dim", ()) for line in below)  # commands to copy are never wrapped


def _paragraph(lines: Sequence[str], width: int) -> Iterator[Styled]:
    if lines:
        yield BLANK
        yield from _wrapped(lines, width)


def _wrapped(lines: Iterable[str], width: int, style: str = "dim") -> Iterator[Styled]:
    """Lines of at most `width` columns, also where a name from elsewhere holds a newline."""
    return ((part, style, ()) for line in lines for part in folded(visible(line), width))


def _least_width(sheet: Sheet) -> int:
    """What the table needs in one panel; its labels may be wrapped, its figures not."""
    return LABEL + sum(GAP + width for width in sheet.widths)


def _narrowest(sheet: Sheet) -> int:
    """What it needs in as many panels as it has columns."""
    return LABEL + max([0, *(GAP + width for width in sheet.widths)])


def _panels(sheet: Sheet, width: int) -> list[Sheet]:
    """The sheet with as many columns as fit `width`, with the next ones, and so on; labels are wrapped to fit first."""
    if _least_width(sheet) <= width:
        return [sheet]
    label = max(LABEL, min(max(map(cell_len, _labels(sheet))), width // 3))
    panels: list[list[int]] = [[]]
    used = label
    for number, own in enumerate(sheet.widths):
        if panels[-1] and used + GAP + own > width:
            panels.append([])
            used = label
        panels[-1].append(number)
        used += GAP + own
    return [_only(sheet, numbers) for numbers in panels]


def _only(sheet: Sheet, numbers: Sequence[int]) -> Sheet:
    """The sheet with the columns of these numbers."""
    lines = [
        line._replace(
            cells=[line.cells[number] for number in numbers],
            best=frozenset(new for new, number in enumerate(numbers) if number in line.best),
        )
        for line in sheet.lines
    ]
    return replace(sheet, columns=[sheet.columns[number] for number in numbers], lines=lines)


def _columns(sheet: Sheet) -> list[list[str]]:
    """Each attack's column, its name first; figures end below each other, and signs hang behind them where there is
    room."""
    columns = []
    of_lines = zip(sheet.columns, *(line.cells for line in sheet.lines), strict=True)
    for width, (name, *cells) in zip(sheet.widths, of_lines, strict=True):
        signs = [len(cell) - len(cell.rstrip("".join(NOTES))) for cell in cells]
        most = max(signs, default=0)
        room = [min(most - own, width - len(cell)) for cell, own in zip(cells, signs, strict=True)]
        padded = [cell + " " * spaces for cell, spaces in zip(cells, room, strict=True)]
        columns.append([" " * (width - cell_len(cell)) + cell for cell in (visible(name), *padded)])
    return columns


def _labels(sheet: Sheet) -> list[str]:
    return [visible(line.label) if line.kind == "value" else f"  {line.label}" for line in sheet.lines]


def _table(sheet: Sheet, width: int) -> Iterator[Styled]:
    """The names of the columns, a rule, and the lines, those of each run apart."""
    widths, labels = sheet.widths, _labels(sheet)
    figures = sum(GAP + own for own in widths)
    label = max(LABEL, min(max(map(cell_len, labels)), width - figures))
    names, *rows = ["".join(" " * GAP + cell for cell in cells) for cells in zip(*_columns(sheet), strict=True)]
    ends = [*accumulate((GAP + own for own in widths), initial=label)]
    yield " " * label + names, "bold", ()
    yield "─" * (label + figures), "", ()
    for number, (line, text, cells) in enumerate(zip(sheet.lines, labels, rows, strict=True)):
        if number and line.kind == "value":
            yield BLANK
        first, *more = folded(text, label)
        named = ((0, label),) if line.kind == "value" else ()
        taken = cell_len(first)
        wider = len(first) - taken
        best = [(ends[number] + wider, ends[number + 1] + wider) for number in sorted(line.best)]
        yield first + " " * (label - taken) + cells, STYLES[line.kind], (*named, *best)
        yield from ((part, STYLES[line.kind], named) for part in more)
