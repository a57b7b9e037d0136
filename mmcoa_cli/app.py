"""The command line: `mmcoa VERB`. Importing this module imports neither torch nor transformers."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from store.errors import UserError

from . import __version__
from .commands import attack, demo, doctor, evaluate, fetch, pretrain, report, reproduce, train
from .commands.given import OnceEach
from .console import print_error
from .errors import explained

VERBS = (fetch, train, pretrain, attack, evaluate, report, reproduce, doctor, demo)
INTERRUPTED = 130  # the exit code that shells give a command ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="Attack CLIP through its images, its text and both; defend it; report what held.",
    epilog="Start with [bold]mmcoa demo[/]: the whole way on embedded data, no network needed.",
)
for _verb in VERBS:
    app.command(_verb.NAME, epilog=_verb.EXAMPLES, cls=OnceEach)(_verb.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmcoa {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Attack CLIP through its images, its text and both; defend it; report what held."""


def main() -> None:
    """Run the command line; every error a user can cause ends in one line and a hint, exit code 1."""
    debug = "--debug" in sys.argv
    sys.argv = [sys.argv[0], *(["--debug"] if debug else []), *(a for a in sys.argv[1:] if a != "--debug")]
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer turns Ctrl-C into this
            error = "interrupted; what was finished is kept"
            print_error(UserError(error, hint="type the same command again to go on"))
        raise
    except BrokenPipeError:  # `mmcoa report | head`: stop quietly, and keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        print_error(explained(error))
        sys.exit(1)
