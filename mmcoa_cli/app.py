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
from .loading import uncollected
from .names import require_printable
from .settings import home
from .terminal.ending import in_words
from .terminal.flattened import flattened
from .terminal.given import OnceEach
from .terminal.help_text import epilog
from .terminal.on_demand import group

VERBS = {  # in the order of `mmcoa --help`, each with the first line of its own help
    "fetch": "Bring datasets and models into the store, from the network or this machine, and say what was understood.",
    "train": "Train a defence on a dataset; then test it clean and under the image, text and multimodal attack.",
    "pretrain": "Train a stand-in CLIP of any open_clip architecture from scratch, on class prompts.",
    "attack": "Make adversarial examples of a run or a model, and store them for every later evaluation.",
    "evaluate": "Test runs or models. Use the stored examples; make and store those that are missing.",
    "interpolate": "Make the models (1-w) A + w B. Each can be evaluated as a run is; what is there is not made again.",
    "report": "Print what the index holds: accuracies with n and 95% intervals, next to the paper's numbers.",
    "runs": "List the runs: what they are made of, when, how long it took, and what came out.",
    "reproduce": "Train and test what a table or figure of the paper needs and is not there yet; then print it.",
    "list": "List what there is to choose from: title, source, and settings with their defaults.",
    "show": "Draw what attacks made of a run's test images, or images of a dataset as they are attacked.",
    "tsne": "Draw where a model puts images, clean and attacked (t-SNE), and measure the mean cosine of the two.",
    "export": "Write a run's model, with a card and its results, for use without mmcoa.",
    "push": "Send a run's model to the Hugging Face hub, with a card and its results.",
    "store": "Look after what is stored.",
    "bench": "Measure the speed of this machine: attacks, training, data, store and start, against what it could do, "
    "against the paper's released code, and against other libraries where they are installed.",
    "doctor": "Check this machine and this store, or with --checkpoint a model for gradient masking; say what to do.",
    "demo": "Fetch, train four methods, attack and report on embedded digits: two minutes on two cores, no network.",
}


def verb(name: str) -> Any:
    """The module of a verb, imported when it is asked for."""
    return import_module(f".commands.{name}", __package__)


def _command(name: str) -> Any:
    """A verb's command, or its group of commands."""
    with uncollected():
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
