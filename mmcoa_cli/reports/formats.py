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
from .rows import COLUMNS, UNLISTED, Row
from .table import text_table
from .templates import filled

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
        "markdown": lambda: filled("tables.md.jinja", title=report.table.title, sheets=report.sheets()),
        "latex": lambda: filled("tables.tex.jinja", sheets=report.sheets()),
        "html": lambda: page([part_of(report, home)], title=report.table.title),
        "csv": lambda: _csv(report.rows),
        "json": lambda: as_json(document(report)),
    }
    if format not in writers:
        raise UserError(f"there is no format called {format!r}", hint=f"--format takes {', '.join(FORMATS)}")
    return writers[format]()


def document(report: Report) -> dict[str, Any]:
    """The JSON of `mmcoa report`."""
    return {
        "task": report.table.task,
        "rows": as_dicts(report.rows),
        "missing": report.missing.entries() if report.missing else [],
    }


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON has them: an interval is a list of two, and options that not every attack has come last."""
    kinds = {(row.threat, row.before_the_last): None for row in rows}
    told = {(threat, epoch): {**({"epoch": epoch} if epoch else {}), **threat.options} for threat, epoch in kinds}
    further = dict.fromkeys(name for options in told.values() for name in options)
    names = [name for name in further if name not in (*COLUMNS, *UNLISTED)]
    beside = {kind: {name: options.get(name) for name in names} for kind, options in told.items()}
    return [
        {**{name: fields[name] for name in COLUMNS}, "ci95": [*row.ci95], **beside[row.threat, row.before_the_last]}
        for row, fields in ((row, vars(row)) for row in rows)
    ]


def save(text: str, path: Path) -> None:
    """Write a report to a file, whole or not at all."""
    from store.files import replacing

    with replacing(path) as partial:
        partial.write_text(text, encoding="utf8", newline="\n")


def _csv(rows: Sequence[Row]) -> str:
    """One line a row, a column for each of its fields; the interval has two."""
    tidy = [_ends_apart(row) for row in as_dicts(rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(tidy[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in tidy)
    return text.getvalue()


def _ends_apart(row: dict[str, Any]) -> dict[str, Any]:
    ends = dict(zip(("ci95_low", "ci95_high"), row["ci95"], strict=True))
    return {key: of for name, value in row.items() for key, of in (ends if name == "ci95" else {name: value}).items()}


def _cell(value: Any) -> Any:
    """Text that a spreadsheet takes for text: a formula in a name from elsewhere is set behind an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA) else visible(value)
