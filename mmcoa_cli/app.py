"""The command line: `mmcoa VERB`. Importing this module imports neither torch nor transformers."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from store.errors import UserError

from . import __version__
from .names import require_printable
from .settings import home
from .terminal.ending import in_words
from .terminal.examples import epilog
from .terminal.flattened import flattened
from .terminal.given import OnceEach
from .terminal.on_demand import group

VERBS = (
    "fetch", "train", "pretrain", "attack", "evaluate", "interpolate", "report", "runs", "reproduce", "list", "show",
    "tsne", "export", "push", "store", "bench", "doctor", "demo",
)  # fmt: skip


def verb(name: str) -> Any:
    """The module of a verb, imported when it is asked for."""
    return import_module(f".commands.{name}", __package__)


def _command(name: str) -> Any:
    """A verb's command, or its group of commands."""
    module = verb(name)
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
    else:
        alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
        alone.command(epilog=epilog(module.EXAMPLES), cls=OnceEach)(flattened(module.command))
        command = typer.main.get_command(alone)
    command.name = name
    return command


app = typer.Typer(
    cls=group(VERBS, _command),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="Attack CLIP through its images, its text and both; defend it; report what held.",
    epilog=epilog({"mmcoa demo": "Go the whole way on embedded data, with no network"}),
)


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
    """`run`, and end as a program does."""
    with in_words():
        run()


def run() -> None:
    """Run the command line. `--debug` may stand anywhere in it."""
    words = [word for word in sys.argv[1:] if word != "--debug"]
    for word in words:  # the checks that follow, and typer's, may quote it
        require_printable(word, "on the command line")
    with suppress(UserError):  # of a home that can be none, which the verbs that use it say
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home().runs / ".torch"))  # torch makes it, in TMPDIR else
    sys.argv[1:] = [*(["--debug"] if len(words) < len(sys.argv) - 1 else []), *words]
    program()(prog_name="mmcoa")


@cache
def program() -> Any:
    """Build the command line once: refusing what was typed takes less time than building it."""
    return typer.main.get_command(app)
