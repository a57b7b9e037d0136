"""From the index to a report, and from a report to its text in some format: on standard output, in a file, or both.

Pages and pictures are drawn with numpy and more, which is imported where one is asked for.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.index import Index
from store.printable import visible

from ..catalog.tables import BEST, TIME, TableRow
from ..loading import uncollected
from ..models.current_digests import Present
from ..settings import Home, home
from ..terminal.checks import require_folder
from ..terminal.console import as_json as json_of
from ..terminal.console import print_json, say, show
from .comparing import compare
from .content import Missing, Report, report_of
from .filters import Filter, chosen
from .reading import attacks_of, rows
from .rows import Row
from .table import print_table, text_table
from .templates import filled
from .wording import BOLD

ENDINGS = {  # what a file is written as
    ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "table",
}  # fmt: skip
FORMATS = ("table", "markdown", "latex", "csv", "json", "html")
FORMULA = tuple("=+-@")  # what a spreadsheet would compute


def make_report(
    table: TableRow,
    home: Home,
    *,
    attacks: tuple[str, ...] = (),
    paper: bool = True,
    seeds: bool = False,
    missing: Callable[..., Missing] | None = None,
    made_by: Callable[[Sequence[Row]], list[str]] | None = None,
    wanted: Filter | None = None,
) -> Report:
    """What the index of `home` holds for the table, what it lacks, if `missing` tells, and by which commands it was
    made (both of `plans/missing.py`). Only what is `wanted` of it, where that is told.

    Raises UserError when it holds nothing, and for unknown attacks.
    """
    index = Index(home.database_url)
    shown = attacks_of(table, attacks) or table.attacks
    with uncollected():
        found = rows(index, table, attacks=attacks, paper=paper, present=Present(home))
        found = chosen(found, wanted, index) if wanted else found
        lacking = missing(index.runs(), found, table=table, attacks=shown, home=home) if missing else None
        report = report_of(found, table, seeds=seeds, missing=lacking, made_by=made_by)
        if table.cell == BEST:
            compare(report, home)
        if table.cell == TIME:
            from .times import time_report

            return time_report(report, index)
        return report


def check_output(table: TableRow, *, format: str | None, output: Path | None) -> None:
    """Raises UserError for a file that the report cannot be written to, before anything is looked up."""
    if output is None:
        return
    from .drawing import ENDINGS as ENDINGS_OF_PICTURES

    pictures = ENDINGS_OF_PICTURES if table.picture else ()
    if not format and output.suffix.lower() not in (*ENDINGS, *pictures):
        drawn = f", or for a picture in {', '.join(pictures)}" if pictures else ""
        what = "no picture and no format that a report has" if pictures else "no format that a report has"
        raise UserError(
            f"{output.name} ends in {what}", hint=f"end it in {', '.join(ENDINGS)}{drawn}; or name one: --format csv"
        )
    require_folder(output)


@uncollected()
def write(report: Report, *, format: str | None, output: Path | None, as_json: bool) -> None:
    """Put the report where it was asked for: a file, standard output, or both.

    A file is written in `format`, else as its name ends. A figure is drawn where no other format is asked for, by
    default into the current folder, and its path and the table of its rows are printed.
    """
    kind = format or ("json" if as_json else "table")
    picture = _picture(report, output, rows_only=bool(format or as_json))
    if report.figure and picture:
        from .drawing import draw

        draw(report, picture, home())
        if kind == "table" and not as_json:
            show(f"drawn: {picture}")
        else:
            say(f"written to {picture}")
    elif output:
        save(render(report, format=format or ENDINGS[output.suffix.lower()], home=home()), output)
        say(f"written to {output}")
    if as_json:
        print_json(document(report))
    elif kind == "table" and (picture or not output):
        print_table(report.newest())
    elif picture or not output:
        sys.stdout.write(render(report, format=kind, home=home()))


def _picture(report: Report, output: Path | None, *, rows_only: bool) -> Path | None:
    """The file a figure is drawn into, None where it is not."""
    if report.figure is None:
        return None
    if output is None:
        return None if rows_only else Path(f"{report.table.name}.png")
    from .drawing import is_picture

    return output if is_picture(output) else None


def render(report: Report, *, format: str = "table", width: int = 100, home: Home | None = None) -> str:
    """The report as text that ends in a newline; `width` in columns is the table's. HTML shows examples of the attacks
    where it is told of the store, `home`.

    CSV and JSON keep every row of several seeds. What is missing ends the table, and is in the JSON. Raises UserError
    for an unknown format.
    """
    from .page import page, part_of

    writers: dict[str, Callable[[], str]] = {
        "table": lambda: text_table(report, width=width),
        "markdown": lambda: filled("tables.md.jinja", title=report.title, sheets=report.sheets(), best=BOLD),
        "latex": lambda: filled("tables.tex.jinja", table=report.table.name, sheets=report.sheets(), best=BOLD),
        "html": lambda: page([part_of(report, home)], title=report.title),
        "csv": lambda: _csv(report.dicts()),
        "json": lambda: json_of(document(report)),
    }
    if format not in writers:
        raise UserError(f"there is no format called {format!r}", hint=f"--format takes {', '.join(FORMATS)}")
    return writers[format]()


def document(report: Report) -> dict[str, Any]:
    """The JSON of `mmcoa report`."""
    return {
        "task": report.table.task,
        "rows": report.dicts(),
        "missing": report.missing.entries() if report.missing else [],
    }


def save(text: str, path: Path) -> None:
    """Write a report to a file, whole or not at all."""
    from store.files import replacing

    with replacing(path) as partial:
        partial.write_text(text, encoding="utf8", newline="\n")


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line a row, a column for each of its fields; the interval has two."""
    tidy = [_ends_apart(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(tidy[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in tidy)
    return text.getvalue()


def _ends_apart(row: dict[str, Any]) -> dict[str, Any]:
    ends = dict(zip(("ci95_low", "ci95_high"), row.get("ci95", ("", "")), strict=True))
    return {key: of for name, value in row.items() for key, of in (ends if name == "ci95" else {name: value}).items()}


def _cell(value: Any) -> Any:
    """Text that a spreadsheet takes for text: a formula in a name from elsewhere is set behind an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA) else visible(value)
