"""A report as a whole: the rows of a task, what is missing among them, and where they are written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from store.index import Index

from .. import catalog
from ..console import print_json, say, show
from ..present import Present
from ..settings import Home
from .figure_data import Figure, figure
from .figures import check_ending, draw, is_picture
from .formats import document, render, save
from .missing import Missing, missing
from .rows import Row, attacks_of, rows
from .table import print_table


@dataclass(frozen=True)
class Report:
    """The rows of `task`, in the order of its tables; those of a figure are what it draws, with its averages."""

    task: catalog.TaskRow
    rows: list[Row]
    missing: Missing
    figure: Figure | None = None


def make_report(
    task: catalog.TaskRow, home: Home, *, attacks: tuple[str, ...] = (), paper: bool = True, seeds: bool = False
) -> Report:
    """What the index of `home` holds for the task. Raises UserError when that is nothing, and for unknown attacks."""
    attacks = attacks_of(task, attacks)
    index = Index(home.database_url)
    found = rows(index, task, attacks=attacks, paper=paper, present=Present(home))
    lacking = missing(index.runs(), found, task=task, attacks=attacks, home=home)
    if task.layout != "figure":
        return Report(task, found, lacking)
    picture = figure(found, task=task, seeds=seeds)
    return Report(task, picture.rows, lacking, picture)


def write(report: Report, *, format: str | None, output: Path | None, as_json: bool, seeds: bool) -> None:
    """Put the report where it was asked for: a file, standard output, or both.

    A figure is drawn where no other format is asked for, by default into the current folder, and its path and the table
    of its rows are printed. Raises UserError when the file of a picture has no ending of one.
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
        save(_text(report, kind, seeds=seeds), output)
        say(f"written to {output}")
    if as_json:
        print_json(document(report.rows, task=report.task, missing=report.missing))
    elif kind == "table" and (picture or not output):
        print_table(report.rows, task=report.task, seeds=seeds, below=report.missing.lines())
    elif picture or not output:
        sys.stdout.write(_text(report, kind, seeds=seeds))


def _picture(report: Report, output: Path | None, *, rows_only: bool) -> Path | None:
    """The file a figure is drawn into, None where it is not."""
    if report.figure is None:
        return None
    if output is None:
        return None if rows_only else Path(f"{report.task.name}.png")
    if not rows_only:
        check_ending(output)
    return output if is_picture(output) else None


def _text(report: Report, kind: str, *, seeds: bool) -> str:
    return render(report.rows, task=report.task, format=kind, seeds=seeds, missing=report.missing)
