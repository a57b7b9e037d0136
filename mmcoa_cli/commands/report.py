"""`mmcoa report`: tables and figures from the index, beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.errors import UserError

from .. import catalog
from ..terminal import options as o
from ..terminal.checks import one_of

NAME = "report"
EXAMPLES = (
    "[bold]mmcoa report --task iid[/]  what the index holds, beside Table I\n\n"
    "[bold]mmcoa report --task ood --attack multimodal,clean[/]  Tables II and III, and what is missing\n\n"
    "[bold]mmcoa report --task fig3 --output fig3.pdf[/]  a picture, and the rows behind it\n\n"
    "[bold]mmcoa report --output table.tex[/]  LaTeX, by the name's ending\n\n"
    "[bold]mmcoa report --seeds --no-paper --format markdown[/]  mean and standard deviation over seeds"
)


def command(
    task: Annotated[
        str, typer.Option(help="The table or figure: iid, ood, table1, table2, table3, fig3, fig4.")
    ] = "iid",
    attack: Annotated[
        str, typer.Option(help="Only these attacks, with commas between them; default: those of the paper's table.")
    ] = "",
    format: Annotated[
        str | None, typer.Option(help="table (the default), markdown, latex, html, csv or json.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write to this file, as it ends: .md, .tex, .csv, .json, .html, .txt; a figure .png, .pdf, .svg.",
            dir_okay=False,
        ),
    ] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Mean and standard deviation over seeds; csv and json keep every row.")
    ] = False,
    no_paper: Annotated[bool, typer.Option("--no-paper", help="Leave the paper's numbers out.")] = False,
    json: o.Json = False,
) -> None:
    """Print what the index holds: accuracies with n and 95% intervals, next to the paper's numbers."""
    from ..reports.formats import FORMATS
    from ..reports.report import check_output, make_report, write
    from ..settings import home

    if format:
        one_of("--format", format, FORMATS)
    if format and json and not output:
        raise UserError(f"--format {format} would be ignored: --json prints JSON", hint="add --output FILE")
    row = catalog.lookup(catalog.tables(), task, "task")
    check_output(row, format=format, output=output)
    report = make_report(row, home(), attacks=o.names(attack), paper=not no_paper, seeds=seeds)
    write(report, format=format, output=output, as_json=json)
