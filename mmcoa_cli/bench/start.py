"""Starting the program: commands that compute nothing, beside the libraries that every one of them has to import."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from store.errors import UserError

from .bench import Bench
from .race import FLOOR, OURS, Entrant, Race, Times, timed

LEAST = ("-c", "import typer, rich")
QUICK = ("--version", "train --help")
COMMANDS = (
    "--version", "--help", "train --help", "evaluate --help", "list attacks", "fetch --list", "runs", "report",
)  # fmt: skip


def races(bench: Bench) -> Iterator[Race]:
    least = started(bench, LEAST)
    for line in QUICK if bench.asked.quick else COMMANDS:
        ours = started(bench, ("-m", "mmcoa_cli", *line.split()))
        yield Race("start", f"mmcoa {line}", "start", [Entrant(OURS, ours, 1.0), Entrant(FLOOR, least, 1.0)])


def started(bench: Bench, words: Sequence[str]) -> Callable[[int], Times]:
    """Starts Python with these words, on an empty store, and waits for its end: the seconds of that process."""
    variables = {**os.environ, "MMCOA_HOME": str(bench.folder / "home"), "HF_HUB_OFFLINE": "1"}
    variables.pop("MMCOA_DATABASE_URL", None)
    run = partial(
        subprocess.run, [sys.executable, *words], env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip

    def measured(number: int) -> Times:
        before = _of_children()
        wall = timed(run).wall
        return Times(_of_children() - before, wall)

    return measured


def _of_children() -> float:
    """Seconds of CPU time of all processes that were started and have ended."""
    if sys.platform == "win32":
        raise UserError("mmcoa bench start reads times that Windows does not tell", hint="name the other parts")
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
