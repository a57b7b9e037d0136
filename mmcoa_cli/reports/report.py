"""A report as a whole: the rows of a task, what is missing among them, and where they are written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from store.errors import UserError
from store.index import Index

from .. import catalog
from ..models.present import Present
from ..settings import Home
from ..terminal.console import print_json, say, show
from .figure_data import Figure, figure
from .figures import ENDINGS as ENDINGS_OF_PICTURES
from .figures import draw, is_picture
from .formats import document, render, save
from .missing import Finder, Missing, nothing
from .rows import Row, attacks_of, rows
from .table import print_table

ENDINGS = {  # what a file is written as
    ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "table",
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The rows of `task`, in the order of its tables; those of a figure are what it draws, with its averages."""

    task: catalog.TableRow
    rows: list[Row]
    missing: Missing
    figure: Figure | None = None


def make_report(
    task: catalog.TableRow,
    home: Home,
    *,
    attacks: tuple[str, ...] = (),
    paper: bool = True,
    seeds: bool = False,
    missing: Finder = nothing,
) -> Report:
    """What the index of `home` holds for the task, and what is `missing` in it.

    Raises UserError when it holds nothing, and for unknown attacks.
    """
    attacks = attacks_of(task, attacks)
    index = Index(home.database_url)
    found = rows(index, task, attacks=attacks, paper=paper, present=Present(home))
    lacking = missing(index.runs(), found, table=task, attacks=attacks, home=home)
    if not task.picture:
        return Report(task, found, lacking)
    picture = figure(found, task=task, seeds=seeds)
    return Report(task, picture.rows, lacking, picture)


def check_output(task: catalog.TableRow, *, format: str | None, output: Path | None) -> None:
    """Raises UserError for a file that the report cannot be written to, before anything is looked up."""
    if output is None:
        return
    pictures = ENDINGS_OF_PICTURES if task.picture else ()
    if not format and output.suffix.lower() not in (*ENDINGS, *pictures):
        drawn = f", or for a picture in {', '.join(pictures)}" if pictures else ""
        what = "no picture and no format that a report has" if pictures else "no format that a report has"
        raise UserError(
            f"{output.name} ends in {what}", hint=f"end it in {', '.join(ENDINGS)}{drawn}; or name one: --format csv"
        )
    if not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} for {output.name}", hint="make it, or name another")


def write(report: Report, *, format: str | None, output: Path | None, as_json: bool, seeds: bool) -> None:
    """Put the report where it was asked for: a file, standard output, or both.

    A file is written in `format`, else as its name ends. A figure is drawn where no other format is asked for, by
    default into the current folder, and its path and the table of its rows are printed.
    """
    kind = format or ("json" if as_json else "table")
    picture = _picture(report, output, rows_only=bool(format or as_json))
    if report.figure and picture:
        draw(report.figure, picture)
        if kind == "table" and not as_json:
            show(str(picture))
        else:
            say(f"written to {picture}")
    elif output:
        save(_text(report, format or ENDINGS[output.suffix.lower()], seeds=seeds), output)
        say(f"written to {output}")
    if as_json:
        print_json(document(report.rows, task=report.task, missing=report.missing))
    elif kind == "table" and (picture or not output):
        print_table(report.rows, task=report.task, seeds=seeds, below=report.missing.lines)
    elif picture or not output:
        sys.stdout.write(_text(report, kind, seeds=seeds))


def _picture(report: Report, output: Path | None, *, rows_only: bool) -> Path | None:
    """The file a figure is drawn into, None where it is not."""
    if report.figure is None:
        return None
    if output is None:
        return None if rows_only else Path(f"{report.task.name}.png")
    return output if is_picture(output) else None


def _text(report: Report, kind: str, *, seeds: bool) -> str:
    return render(report.rows, task=report.task, format=kind, seeds=seeds, missing=report.missing)
