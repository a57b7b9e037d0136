"""A report as text: the terminal's table, Markdown, LaTeX (booktabs), HTML, CSV (tidy) and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.printable import visible

from ..settings import Home
from .content import Report
from .page import page, part_of
from .rows import COLUMNS, Row
from .sheet import Printed, Sheet
from .table import text_table

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")
WIDE = 7  # columns from which a LaTeX table takes the width of the page
LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"±": r"$\pm$", "·": r"$\cdot$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}"},
    }
)
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<[&"})
FORMULA = tuple("=+-@")  # what a spreadsheet would compute


def render(report: Report, *, format: str = "table", width: int = 100, home: Home | None = None) -> str:
    """The report as text that ends in a newline; `width` in columns is the table's. HTML shows examples of the attacks
    where it is told of the store, `home`.

    CSV and JSON keep every row of several seeds. What is missing ends the table, and is in the JSON. Raises UserError
    for an unknown format.
    """
    writers = {
        "table": lambda: text_table(report, width=width),
        "markdown": lambda: "\n".join(_markdown(sheet, report.table.title) for sheet in report.sheets()),
        "latex": lambda: "\n".join(map(_latex, report.sheets())),
        "html": lambda: page([part_of(report, home)], title=report.table.title),
        "csv": lambda: _csv(report.rows),
        "json": lambda: json.dumps(document(report), indent=2) + "\n",
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
    further = dict.fromkeys(name for row in rows for name in row.further)
    return [
        {
            **{name: getattr(row, name) for name in COLUMNS},
            "ci95": list(row.ci95),
            **{name: row.further.get(name) for name in further},
        }
        for row in rows
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


def _markdown(sheet: Sheet, title: str) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def styled(line: Printed) -> list[str]:
        label, *cells = map(_md, (line.label, *line.cells))
        return [f"**{label}**" if line.kind == "value" else f"*{label}*", *cells]

    lines = [
        *(f"### {_md(sheet.title)}", "", f"{title}. {_md(sheet.caption)}.", ""),
        *(f"- {_md(line)}" for line in sheet.circumstances),
        *(
            "",
            row([sheet.heading, *map(_md, sheet.columns)]),
            row(["---", *("---:" for _ in sheet.columns)]),
        ),
        *(row(styled(line)) for line in sheet.lines),
        *("", *(f"- {_md(note)}" for note in (*sheet.remarks, *sheet.notes))),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _md(text: str) -> str:
    """Text for Markdown: no table cell, emphasis, link or tag of a name's own."""
    return visible(text).translate(MARKDOWN)


def _latex(sheet: Sheet) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"    {' & '.join(cells)} \\\\"

    def styled(line: Printed) -> list[str]:
        label, *cells = map(_tex, (line.label, *line.cells))
        if line.kind == "value":
            return [label, *cells]
        return [f"\\quad\\footnotesize {label}", *(f"\\footnotesize {cell}" for cell in cells)]

    about = [f"{sheet.title}: {'; '.join(sheet.circumstances)}", sheet.caption, *sheet.remarks, *sheet.notes]
    wide = len(sheet.columns) >= WIDE
    table = "table*" if wide else "table"
    lines = [
        f"% needs \\usepackage{{booktabs{',graphicx' if wide else ''}}}",
        f"\\begin{{{table}}}",
        "  \\centering",
        f"  \\caption{{{_tex('. '.join(about))}.}}",
        *(["  \\resizebox{\\textwidth}{!}{%"] if wide else []),
        f"  \\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}",
        "    \\toprule",
        row([sheet.heading, *map(_tex, sheet.columns)]),
        "    \\midrule",
        *(row(styled(line)) for line in sheet.lines),
        "    \\bottomrule",
        f"  \\end{{tabular}}{'}' if wide else ''}",
        f"\\end{{{table}}}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    """Text for LaTeX; two hyphens, as of an option, stay two."""
    return visible(text).translate(LATEX).replace("--", "-{}-").replace("–", "--")
