"""`mmcoa report`: tables from the index, beside the paper's numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import catalog, specs
from . import options as o

NAME = "report"
EXAMPLES = (
    "[bold]mmcoa report --task iid[/]  what the index holds, beside Table I\n\n"
    "[bold]mmcoa report --task ood --attack multimodal,clean[/]  Tables II and III, and what is missing\n\n"
    "[bold]mmcoa report --format latex --output table.tex[/]\n\n"
    "[bold]mmcoa report --seeds --no-paper --format markdown[/]  mean and standard deviation over seeds"
)


def command(
    task: Annotated[str, typer.Option(help="The task of the paper whose table it is.")] = "iid",
    attack: Annotated[
        str, typer.Option(help="Only these attacks, with commas between them; default: those of the paper's table.")
    ] = "",
    format: Annotated[
        str | None, typer.Option(help="table (the default), markdown, latex, html, csv or json.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file.", dir_okay=False)] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Mean and standard deviation over seeds; csv and json keep every row.")
    ] = False,
    no_paper: Annotated[bool, typer.Option("--no-paper", help="Leave the paper's numbers out.")] = False,
    json: o.Json = False,
) -> None:
    """Print what the index holds: accuracies with n and 95% intervals, next to the paper's numbers."""
    from ..console import print_json, say
    from ..reports import formats
    from ..reports.report import make_report
    from ..reports.table import print_table
    from ..settings import home

    kind = format or ("json" if json else "table")
    specs.one_of("--format", kind, formats.FORMATS)
    row = catalog.lookup(catalog.tasks(), task, "task")
    found = make_report(row, home(), attacks=o.names(attack), paper=not no_paper)
    if output:
        text = formats.render(found.rows, task=row, format=kind, seeds=seeds, missing=found.missing)
        formats.save(text, output)
        say(f"written to {output}")
    if json:
        print_json(formats.document(found.rows, task=row, missing=found.missing))
    elif not output and kind == "table":
        print_table(found.rows, task=row, seeds=seeds, below=found.missing.lines())
    elif not output:
        sys.stdout.write(formats.render(found.rows, task=row, format=kind, seeds=seeds, missing=found.missing))
