"""A report as text: the terminal's table, Markdown, LaTeX (booktabs), HTML, CSV (tidy) and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.printable import visible

from .. import catalog
from .missing import Missing
from .rows import Row
from .sheets import sheets
from .table import text_table
from .web import page
from .wording import Printed, Sheet

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")
WIDE = 7  # columns from which a LaTeX table takes the width of the page
NOTHING = Missing()
LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"±": r"$\pm$", "·": r"$\cdot$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}"},
    }
)
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*`<[&"})
FORMULA = tuple("=+-@")  # what a spreadsheet would compute


def render(
    rows: Sequence[Row],
    *,
    task: catalog.TableRow,
    format: str = "table",
    seeds: bool = False,
    width: int = 100,
    missing: Missing = NOTHING,
) -> str:
    """`rows` as text that ends in a newline; `width` in columns is the table's.

    With `seeds`, rows that differ in nothing but their seed become a mean and a standard deviation; CSV and JSON keep
    every row. What is `missing` ends the table, and is in the JSON. Raises UserError for an unknown format.
    """
    if format == "csv":
        return _csv(rows)
    if format == "json":
        return json.dumps(document(rows, task=task, missing=missing), indent=2) + "\n"
    if format == "table":
        return text_table(rows, task=task, seeds=seeds, width=width, below=missing.lines)
    if format == "html":
        return page(sheets(rows, task=task, seeds=seeds), title=task.title)
    writers = {"markdown": _markdown, "latex": _latex}
    if format not in writers:
        raise UserError(f"there is no format called {format!r}", hint=f"--format takes {', '.join(FORMATS)}")
    return "\n".join(writers[format](sheet, task) for sheet in sheets(rows, task=task, seeds=seeds))


def document(rows: Sequence[Row], *, task: catalog.TableRow, missing: Missing = NOTHING) -> dict[str, Any]:
    """The JSON of `mmcoa report`."""
    return {"task": task.task, "rows": [as_dict(row) for row in rows], "missing": list(missing.entries)}


def as_dict(row: Row) -> dict[str, Any]:
    """A row as JSON has it: its interval is a list of two."""
    return {**asdict(row), "ci95": list(row.ci95)}


def save(text: str, path: Path) -> None:
    """Write a report to a file, whole or not at all."""
    from store.files import replacing

    with replacing(path) as partial:
        partial.write_text(text, encoding="utf8", newline="\n")


def _csv(rows: Sequence[Row]) -> str:
    """One line a row, a column for each of its fields; the interval has two."""
    names = [name for field in fields(Row) for name in _columns(field.name)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row)
        low, high = values.pop("ci95")
        cells = {name: _cell(value) for name, value in values.items()}
        writer.writerow({**cells, "ci95_low": low, "ci95_high": high})
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet takes for text: a formula in a name from elsewhere is set behind an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA) else visible(value)


def _columns(field: str) -> tuple[str, ...]:
    return ("ci95_low", "ci95_high") if field == "ci95" else (field,)


def _markdown(sheet: Sheet, task: catalog.TableRow) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def styled(line: Printed) -> list[str]:
        label, *cells = map(_md, (line.label, *line.cells))
        return [f"**{label}**" if line.kind == "value" else f"*{label}*", *cells]

    lines = [
        *(f"### {_md(sheet.title)}", "", f"{task.title}. {_md(sheet.caption)}.", ""),
        *(f"- {_md(line)}" for line in sheet.circumstances),
        *(
            "",
            row(["method", *map(_md, sheet.columns)]),
            row(["---", *("---:" for _ in sheet.columns)]),
        ),
        *(row(styled(line)) for line in sheet.lines),
        *("", *(f"- {_md(note)}" for note in (*sheet.trainings, *sheet.notes))),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _md(text: str) -> str:
    """Text for Markdown: no table cell, emphasis, link or tag of a name's own."""
    return visible(text).translate(MARKDOWN)


def _latex(sheet: Sheet, _: catalog.TableRow) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"    {' & '.join(cells)} \\\\"

    def styled(line: Printed) -> list[str]:
        label, *cells = map(_tex, (line.label, *line.cells))
        if line.kind == "value":
            return [label, *cells]
        return [f"\\quad\\footnotesize {label}", *(f"\\footnotesize {cell}" for cell in cells)]

    about = [f"{sheet.title}: {'; '.join(sheet.circumstances)}", sheet.caption, *sheet.trainings, *sheet.notes]
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
        row(["method", *map(_tex, sheet.columns)]),
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
