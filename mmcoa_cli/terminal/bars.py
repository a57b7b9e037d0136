"""How a bar looks: the share done, the speed, the time left and a note. Importing this module takes a while."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from .plain_progress import per_second


class Speed(ProgressColumn):
    """In the bar's own unit."""

    def render(self, task: Any) -> Text:
        """ "34 images/s"."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else per_second(speed, task.fields["unit"]), style="cyan")


class Size(DownloadColumn):
    """Of what is counted in bytes."""

    def render(self, task: Any) -> Text:
        """ "1.2/3.4 MB"."""
        return super().render(task) if task.fields["unit"] == "bytes" else Text("")


def bars_on(console: Console, *, sized: bool) -> Progress:
    """Bars with a `unit` and a `note` each; `sized` where some may be counted in bytes."""
    one_line, note = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=one_line),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%", table_column=one_line),
        *([Size(table_column=one_line)] if sized else []),
        Speed(table_column=one_line),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=one_line),
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=note),
    )
    return Progress(*columns, console=console, expand=False)
