"""`mmcoa report`: tables and figures from the index, beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.errors import UserError

from .. import catalog
from ..terminal.choices import Names, choice, choices, listed
from ..terminal.literals import Format
from . import known
from . import output as o
from .wanted import Wanted

EXAMPLES = {
    "mmcoa report --task iid": "Print what the index holds, beside Table I",
    "mmcoa report --task ood --attack multimodal,clean": "Print Tables II and III, and what is missing",
    "mmcoa report --task fig3 --output fig3.pdf": "Draw a figure, and print the rows behind it",
    "mmcoa report --output table.tex": "Write LaTeX, by the ending of the name",
    "mmcoa report --task compare --dataset cifar10": "Print a line for each checkpoint, and what is chance",
    "mmcoa report --seeds --no-paper --format markdown": "Print mean and standard deviation over seeds",
}

Task = Annotated[
    str,
    typer.Option(
        help=f"Show this table or figure of the paper: {listed(catalog.tables)}.", **choice(catalog.tables, "TASK")
    ),
]
Attacks = Annotated[
    Names | None,
    typer.Option(
        help=f"Show only these attacks, with commas between them: {listed(known.attacks)}.",
        show_default="those of the paper's table", **choices(known.attacks, "ATTACK,..."),
    ),
]  # fmt: skip
WrittenIn = Annotated[Format | None, typer.Option(help="Write in this format.", show_default="table")]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", dir_okay=False,
        help="Write to this file, in the format of its ending: .md, .tex, .csv, .json, .html, .txt; for a figure"
        " .png, .pdf, .svg.",
    ),
]  # fmt: skip
Seeds = Annotated[
    bool, typer.Option("--seeds", help="Show mean and standard deviation over seeds; csv and json keep every row.")
]
NoPaper = Annotated[bool, typer.Option("--no-paper", help="Leave out the paper's numbers.")]


def command(
    task: Task = "iid",
    attack: Attacks = None,
    format: WrittenIn = None,
    output: Output = None,
    seeds: Seeds = False,
    no_paper: NoPaper = False,
    *,
    wanted: Wanted,
    json: o.Json = False,
) -> None:
    """Print what the index holds: accuracies with n and 95% intervals, next to the paper's numbers."""
    from ..plans.missing import lacking, made_by
    from ..reports.report import check_output, make_report, write
    from ..settings import home

    if format and json and not output:
        raise UserError(f"--format {format} would be ignored: --json prints JSON", hint="add --output FILE")
    row = catalog.tables()[task]
    check_output(row, format=format, output=output)
    report = make_report(
        row,
        home(),
        attacks=attack or (),
        paper=not no_paper,
        seeds=seeds,
        missing=None if wanted.filter.narrows else lacking,  # what was left out is not missing
        made_by=made_by,
        wanted=wanted.filter,
    )
    write(report, format=format, output=output, as_json=json)
