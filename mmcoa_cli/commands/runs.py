"""`mmcoa runs`: what was trained, and what came out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from store.errors import UserError

from ..terminal.choices import one
from . import known
from . import output as o
from .wanted import Wanted

EXAMPLES = {
    "mmcoa runs": "List the runs, the newest first, with their clean and their lowest robust accuracy",
    "mmcoa runs --dataset cifar10 --method mmcoa,tecoa --since 7d": "List some of them",
    "mmcoa runs RUN": "Print all of one: its settings, losses, files, results, and the command that made it",
    "mmcoa runs RUN --toml": "Print its options as a file for mmcoa train --config",
}


def command(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Print all of this run; the beginning of its id is enough.",
            autocompletion=one(known.runs),
        ),
    ] = None,
    *,
    wanted: Wanted,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the options of a run as a file that `mmcoa train --config` takes.")
    ] = False,
    json: o.Json = False,
) -> None:
    """List the runs: what they are made of, when, how long it took, and what came out."""
    from ..settings import home
    from ..terminal.console import print_json

    if toml:
        from ..reports.one_run import options_file

        if not run or json:
            raise UserError("--toml prints the options of one run", hint="mmcoa runs RUN --toml > run.toml")
        sys.stdout.write(options_file(run, home()))
    elif run:
        from ..plans.missing import made_by
        from ..reports.one_run import described, print_described

        found = described(run, home(), made_by=made_by)
        print_json(found.document()) if json else print_described(found)
    else:
        from ..reports.runs import listed, print_runs

        runs = listed(home(), wanted.filter)
        print_json({"runs": runs}) if json else print_runs(runs)
