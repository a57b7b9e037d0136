"""A report as a page for a browser: plain tables, every text escaped, nothing that runs or loads."""

from __future__ import annotations

import html
from collections.abc import Sequence

from store.printable import visible

from .wording import Printed, Sheet

STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
    "caption{text-align:left;font-style:italic}th,td{padding:.1em .6em;text-align:right}"
    "th:first-child{text-align:left}thead th{border-bottom:1px solid}.detail{color:#666;font-size:smaller}"
    ".detail th{font-weight:normal;padding-left:1.5em}.value th,.value td{padding-top:.5em}"
)


def page(sheets: Sequence[Sheet], *, title: str) -> str:
    """One HTML document with a section for each sheet."""
    notes = dict.fromkeys(note for sheet in sheets for note in sheet.notes)
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(line for sheet in sheets for line in _section(sheet)),
        *_list(list(notes)),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _section(sheet: Sheet) -> list[str]:
    return [
        "<section>",
        f"<h2>{escape(sheet.title)}</h2>",
        *_list(sheet.circumstances),
        f"<table><caption>{escape(sheet.caption)}</caption>",
        f"<thead><tr>{_heads(['method', *sheet.columns])}</tr></thead>",
        "<tbody>",
        *(_line(line) for line in sheet.lines),
        "</tbody></table>",
        *_list(sheet.trainings),
        "</section>",
    ]


def _heads(names: Sequence[str]) -> str:
    return "".join(f'<th scope="col">{escape(name)}</th>' for name in names)


def _line(line: Printed) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in line.cells)
    return f'<tr class="{line.kind}"><th scope="row">{escape(line.label)}</th>{cells}</tr>'


def _list(lines: Sequence[str]) -> list[str]:
    return ["<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"] if lines else []


def escape(text: str) -> str:
    return html.escape(visible(text))
