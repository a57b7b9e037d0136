"""From the index to a report, and from a report to where it was asked for: a file, standard output, or both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from store.errors import UserError
from store.index import Index

from ..catalog.tables import BEST, TIME, TableRow
from ..loading import uncollected
from ..models.present import Present
from ..settings import Home, home
from ..terminal.checks import require_folder
from ..terminal.console import print_json, say, show
from .comparing import compared
from .content import Missing, Report, report_of
from .figures import ENDINGS as ENDINGS_OF_PICTURES
from .figures import draw, is_picture
from .filters import Filter, chosen
from .formats import document, render, save
from .reading import attacks_of, rows
from .rows import Row
from .table import print_table
from .times import time_report

ENDINGS = {  # what a file is written as
    ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "table",
}  # fmt: skip


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
    """What the index of `home` holds for the table, what it lacks, if `missing` tells (`plans.lacking`), and by which
    commands it was made (`plans.lacking`). Only what is `wanted` of it, where that is told.

    Raises UserError when it holds nothing, and for unknown attacks.
    """
    index = Index(home.database_url)
    shown = attacks_of(table, attacks) or table.attacks
    with uncollected():
        found = rows(index, table, attacks=attacks, paper=paper, present=Present(home))
        found = chosen(found, wanted, index) if wanted else found
        found = compared(found, table, home) if table.cell == BEST else found
        lacking = missing(index.runs(), found, table=table, attacks=shown, home=home) if missing else None
        report = replace(report_of(found, table, seeds=seeds, missing=lacking), made_by=made_by)
        return time_report(report, index) if table.cell == TIME else report


def check_output(table: TableRow, *, format: str | None, output: Path | None) -> None:
    """Raises UserError for a file that the report cannot be written to, before anything is looked up."""
    if output is None:
        return
    pictures = ENDINGS_OF_PICTURES if table.picture else ()
    if not format and output.suffix.lower() not in (*ENDINGS, *pictures):
        drawn = f", or for a picture in {', '.join(pictures)}" if pictures else ""
        what = "no picture and no format that a report has" if pictures else "no format that a report has"
        raise UserError(
            f"{output.name} ends in {what}", hint=f"end it in {', '.join(ENDINGS)}{drawn}; or name one: --format csv"
        )
    require_folder(output)


def write(report: Report, *, format: str | None, output: Path | None, as_json: bool) -> None:
    """Put the report where it was asked for: a file, standard output, or both.

    A file is written in `format`, else as its name ends. A figure is drawn where no other format is asked for, by
    default into the current folder, and its path and the table of its rows are printed.
    """
    kind = format or ("json" if as_json else "table")
    picture = _picture(report, output, rows_only=bool(format or as_json))
    if report.figure and picture:
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
    return output if is_picture(output) else None
