"""How a bar looks: the share done, the speed, the time left and a note. Importing this module takes a while.

Where a terminal is narrow the note goes first, then the bar itself, then the end of the title.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from .plain_progress import per_second

NARROW = 80  # columns; in fewer there is no bar


class Bar(BarColumn):
    """Of a terminal that has room for it."""

    def __init__(self, console: Console, **options: Any) -> None:
        super().__init__(bar_width=12, **options)
        self._console = console

    def render(self, task: Any) -> Any:
        return super().render(task) if self._console.width >= NARROW else Text("")


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


class Bars(Progress):
    """Of which each has one line, in which the numbers are whole."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self._on = console  # a table is made before the bars have one
        super().__init__(*columns, console=console, expand=False)

    def make_tasks_table(self, tasks: Iterable[Any]) -> Table:
        """A row for each; the title has what the numbers leave, and the note what the title leaves."""
        table = super().make_tasks_table(tasks)
        title, *numbers, note = table.columns
        room = self._on.width - sum(self._widest(column) + 1 for column in numbers) - 1
        title.max_width = max(1, min(room, self._widest(title)))
        note.max_width = max(0, room - title.max_width)
        return table

    def _widest(self, column: Column) -> int:
        return max((Measurement.get(self._on, self._on.options, cell).maximum for cell in column.cells), default=0)


def bars_on(console: Console, *, sized: bool) -> Progress:
    """Bars with a `unit` and a `note` each; `sized` where some may be counted in bytes."""
    number, text = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", markup=False, table_column=text),
        Bar(console, table_column=number),
        TextColumn("{task.percentage:>3.0f}%", table_column=number),
        *([Size(table_column=number)] if sized else []),
        Speed(table_column=number),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=number),
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=text),
    )
    return Bars(*columns, console=console)
