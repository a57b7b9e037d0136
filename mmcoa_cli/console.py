"""What a person sees: messages, progress, errors and JSON. Everything but results goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console

from store.errors import UserError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """One JSON document on stdout, nothing else there."""
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def say(message: str) -> None:
    """A line for a person, on stderr."""
    err.print(message, soft_wrap=True)


def print_error(error: UserError) -> None:
    """The two lines a failed command ends with."""
    err.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
    if error.hint:
        err.print(f"[bold]hint:[/] {_escaped(error.hint)}", soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))


class Task:
    """One running progress bar."""

    def __init__(self, progress: Any, task_id: Any) -> None:
        self._progress, self._id = progress, task_id

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """`count` more units are done; `note` (a loss, an accuracy) is shown behind the speed."""
        self._progress.update(self._id, advance=count, **({"note": note} if note else {}))

    def reach(self, done: int) -> None:
        """`done` units are done altogether."""
        self._progress.update(self._id, completed=done)


@contextmanager
def progress(description: str, *, total: int | None, unit: str, done: int = 0, quiet: bool = False) -> Iterator[Task]:
    """A bar with the share done, the speed in `unit` per second and the time left, on stderr.

    `done` units were finished earlier (a resumed run) and do not count in the speed. Where stderr is no
    terminal only one closing line is printed; with `quiet` nothing is (worker processes other than the first).
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else _per_second(speed, unit), style="cyan")

    one_line = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", table_column=one_line),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%", table_column=one_line),
        *([DownloadColumn(table_column=one_line)] if unit == "bytes" else []),
        Speed(table_column=one_line),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(*columns, console=err, disable=quiet, expand=False) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        yield Task(bar, task)
        bar.update(task, total=bar.tasks[0].completed)  # what is done is the whole, where fewer came than were expected


def _per_second(speed: float, unit: str) -> str:
    if unit == "bytes":
        from rich.filesize import decimal

        return f"{decimal(int(speed))}/s"
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.1f} {unit}/s"
