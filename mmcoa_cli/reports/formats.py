"""A report as text: the terminal's table, Markdown, LaTeX (booktabs), HTML, CSV (tidy) and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.printable import visible

from ..settings import Home
from ..terminal.console import as_json
from .content import Report
from .page import page, part_of
from .table import text_table
from .templates import filled
from .wording import BEST

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")
FORMULA = tuple("=+-@")  # what a spreadsheet would compute


def render(report: Report, *, format: str = "table", width: int = 100, home: Home | None = None) -> str:
    """The report as text that ends in a newline; `width` in columns is the table's. HTML shows examples of the attacks
    where it is told of the store, `home`.

    CSV and JSON keep every row of several seeds. What is missing ends the table, and is in the JSON. Raises UserError
    for an unknown format.
    """
    writers: dict[str, Callable[[], str]] = {
        "table": lambda: text_table(report, width=width),
        "markdown": lambda: filled("tables.md.jinja", title=report.title, sheets=report.sheets(), best=BEST),
        "latex": lambda: filled("tables.tex.jinja", table=report.table.name, sheets=report.sheets(), best=BEST),
        "html": lambda: page([part_of(report, home)], title=report.title),
        "csv": lambda: _csv(report.dicts()),
        "json": lambda: as_json(document(report)),
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
