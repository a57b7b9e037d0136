"""A report as text: the terminal's table, Markdown, LaTeX (booktabs), HTML, CSV (tidy) and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.printable import visible

from ..terminal.console import as_json
from .content import Report
from .rows import COLUMNS, UNLISTED, Row
from .table import text_table

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")
LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"±": r"$\pm$", "·": r"$\cdot$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}"},
    }
)
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<[&"})
FORMULA = tuple("=+-@")  # what a spreadsheet would compute
BRACES = {  # of a template in which braces are LaTeX's
    "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<", "variable_end_string": ">>",
    "comment_start_string": "<#", "comment_end_string": "#>",
}  # fmt: skip


def render(report: Report, *, format: str = "table", width: int = 100) -> str:
    """The report as text that ends in a newline; `width` in columns is the table's.

    CSV and JSON keep every row of several seeds. What is missing ends the table, and is in the JSON. Raises UserError
    for an unknown format.
    """
    writers: dict[str, Callable[[], str]] = {
        "table": lambda: text_table(report, width=width),
        "markdown": lambda: _filled(report, "tables.md.jinja", _markdown),
        "latex": lambda: _filled(report, "tables.tex.jinja", _latex, **BRACES),
        "html": lambda: _filled(report, "page.html.jinja", _html, autoescape=True),
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
    threats = {row.threat: row.threat.options for row in rows}
    further = dict.fromkeys(name for options in threats.values() for name in options)
    names = [name for name in further if name not in (*COLUMNS, *UNLISTED)]
    beside = {threat: {name: options.get(name) for name in names} for threat, options in threats.items()}
    return [
        {**{name: fields[name] for name in COLUMNS}, "ci95": [*row.ci95], **beside[row.threat]}
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


def _filled(report: Report, template: str, escaped: Callable[[str], str], **syntax: Any) -> str:
    """A template of this folder, filled with the sheets; all that is put into it is `escaped`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader(__package__, "."), finalize=escaped, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, **syntax,
    )  # fmt: skip
    return templates.get_template(template).render(title=report.table.title, sheets=report.sheets())


def _markdown(text: str) -> str:
    """Text for Markdown: no table cell, emphasis, link or tag of a name's own."""
    return visible(text).translate(MARKDOWN)


def _latex(text: str) -> str:
    """Text for LaTeX; two hyphens, as of an option, stay two."""
    return visible(text).translate(LATEX).replace("--", "-{}-").replace("–", "--")


def _html(text: str) -> str:
    """Text for HTML, which the template escapes; what its own macros made is that already."""
    return text if hasattr(text, "__html__") else visible(text)
