"""What a person sees: messages, progress, errors and JSON. Everything but results goes to stderr.

Text is printed as it is: markup and emoji codes mean nothing in it, and what a terminal would obey (an escape sequence
or a bidi override in a name from elsewhere) is shown as \\x1b.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, is_dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from store.errors import UserError
from store.printable import visible

LONGEST = 1000  # characters of an error or a hint; a longer one is cut in the middle
NESTED = (dict, list, tuple)  # what JSON holds in more than one line
FLAT = {str, int, float, bool, type(None)}
TYPED = re.compile(r"\b(mmcoa|pip|hf) [a-z]|(^|\s)--?[a-z]")
NARROWEST = 40  # columns; in fewer (or with COLUMNS=0) the terminal wraps lines, which is better than words cut off


class Terminal(Console):
    """A console that interprets nothing in what it prints."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)
        self._is_asked = bool(options.get("force_terminal"))
        if "width" not in options and self.width < NARROWEST:
            self.width = NARROWEST

    @property
    def live(self) -> bool:
        """Whether lines can be drawn over. FORCE_COLOR makes a terminal of a log, for its colours alone."""
        return self.is_terminal and not self.is_dumb_terminal and (self._is_asked or self.file.isatty())

    def render_str(self, text: str, **options: Any) -> Text:  # before a table measures its cells
        return super().render_str(visible(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for column in getattr(renderable, "columns", ()):  # of a table: a name or a path is to be copied whole
            if not column.no_wrap:
                column.overflow = "fold"
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, keep="\n"), style, control)


out = Terminal()
err = Terminal(stderr=True)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(as_json(document))


def as_json(document: object) -> str:
    """One JSON document, each value in a line of its own, indented by two spaces."""
    text = _indented(document, "\n")
    return text.replace("\x7f", "\\u007f") + "\n"  # the one control character that JSON leaves as it is


def _indented(value: Any, line: str) -> str:
    """As json.dumps(value, indent=2) has it, which takes five times as long. `line` begins a line of this depth."""
    value = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if not value or not isinstance(value, NESTED):
        return json.dumps(value, default=str)
    named, deeper, parts = isinstance(value, dict), f"{line}  ", []
    items = value.items() if isinstance(value, dict) else ((None, of) for of in value)
    for nested, some in groupby(items, key=lambda item: type(item[1]) not in FLAT):
        if nested:
            parts += [(f"{json.dumps(name)}: " if named else "") + _indented(of, deeper) for name, of in some]
        else:  # all at once
            flat = dict(some) if named else [of for _, of in some]
            parts.append(json.dumps(flat, default=str, separators=(f",{deeper}", ": "))[1:-1])
    opening, closing = "{}" if named else "[]"
    return f"{opening}{deeper}{f',{deeper}'.join(parts)}{line}{closing}"


def show(line: str, *, whole: bool = False) -> None:
    """Print a line of a result, on stdout; `whole` where it is to be copied."""
    _print(out, Text(visible(line)), whole=whole)


def indented(lines: Iterable[tuple[str, str]]) -> RenderableType:
    """Lay out titles and their texts below the line they belong to."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for title, text in lines:
        grid.add_row(f"  {title}", visible(text))
    return grid


def say(message: str, *, head: str = "", style: str = "") -> None:
    """Print a line for a person, on stderr, with `head` before it in bold."""
    _print(err, _line(message, head=head, style=style))


def say_line(line: Text) -> None:
    """Print a line that another process said."""
    _print(err, line)


def print_error(error: UserError) -> None:
    """Print the two lines that a failed command ends with."""
    _print(err, _line(_one_line(str(error)), head="error:", head_style="bold red"))
    if error.hint:
        _print(err, _line(_one_line(error.hint), head="hint:"))


def _print(console: Terminal, line: Text, *, whole: bool = False) -> None:
    """A line is broken between its words, and only where a terminal is narrower; not at all where it is copied from:
    what is typed is no longer that with a line break in it, and a terminal breaks it for the eye alone."""
    if _sent and console is err:
        _sent[-1]("line", line)
        return
    copied = whole or not console.is_terminal or TYPED.search(line.plain)
    for part in [line] if copied else line.divide(_breaks(line.plain, console.width)):
        part.rstrip()
        console.print(part, soft_wrap=True)


def _breaks(text: str, width: int) -> Iterator[int]:
    """Where lines of `width` columns end: before a word, unless that is longer itself, as a path may be."""
    start = 0
    for word in re.finditer(r"\S+", text):
        if word.start() > start and cell_len(text[start : word.end()]) > width >= cell_len(word[0]):
            start = word.start()
            yield start


def _line(text: str, *, head: str = "", head_style: str = "bold", style: str = "") -> Text:
    return Text.assemble((head, head_style), " " if head else "", (visible(text), style))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} [...] {line[-LONGEST // 3 :]}"
    return line


class Task:
    """Work that is under way: what is done of it is shown as a bar, or in lines."""

    def __init__(self, show: Callable[[int, str], None], done: int) -> None:
        self._show, self._done = show, done

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Count `count` more units as done, and show `note` (a loss, an accuracy) behind the speed."""
        self.reach(self._done + count, note=note)

    def reach(self, done: int, *, note: str = "") -> None:
        """Count `done` units as done in all."""
        self._done = done
        self._show(done, note)

    @property
    def done(self) -> int:
        return self._done


@contextmanager
def progress(description: str, *, total: int | None, unit: str, done: int = 0, quiet: bool = False) -> Iterator[Task]:
    """Show a bar on stderr: the share done, the speed in `unit` per second and the time left.

    `done` units were finished earlier (a resumed run) and do not count in the speed. Where nothing can be drawn over,
    print lines (`plain_progress.py`); with `quiet` print nothing (in workers other than the first).
    """
    if quiet or _drawn:  # of two bars at once only the outer one can be drawn
        yield Task(lambda reached, note: None, done)
        return
    show = _messages if _sent else _bar if err.live else _lines
    with show(visible(description), total=total, unit=unit, done=done) as task:
        yield task


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Tell in lines that something is under way whose progress others show, where nothing can be drawn over."""
    with progress(description, total=None, unit="", quiet=err.live):
        yield


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Say in a terminal, until it is done, that `what` is loaded: to import torch takes seconds in which nothing can be
    drawn over and over."""
    if _sent or not err.live:
        yield
        return
    err.file.write(f"loading {what} ...")
    err.file.flush()
    try:
        yield
    finally:
        err.file.write("\r\x1b[2K")
        err.file.flush()


@contextmanager
def _lines(description: str, *, total: int | None, unit: str, done: int) -> Iterator[Task]:
    from .plain_progress import Heart, PlainProgress

    plain = PlainProgress(description, total, unit, lambda line: err.print(visible(line), soft_wrap=True), done)
    plain.begin()
    heart = Heart(plain.tell)
    whole = False
    try:
        yield Task(plain.reach, done)
        whole = True
    finally:
        heart.stop()
        plain.end(whole=whole)


_drawn: list[str] = []
_beside: list[Any] = []  # the bars that others are drawn with
_sent: list[Callable[..., None]] = []  # to the process that shows what this one does


@contextmanager
def shown_elsewhere(send: Callable[..., None]) -> Iterator[None]:
    """Show nothing of the block, but send it (`several.py`)."""
    _sent.append(send)
    try:
        yield
    finally:
        _sent.pop()


@contextmanager
def _messages(description: str, *, total: int | None, unit: str, done: int) -> Iterator[Task]:
    from .several import sent

    with sent(_sent[-1], description, total, unit, done) as reach:
        yield Task(reach, done)


@contextmanager
def side_by_side() -> Iterator[None]:
    """Draw all bars of the block that are under way, one below the other, and below what is printed."""
    if not err.live:
        yield
        return
    from .bars import bars_on

    with bars_on(err, sized=True) as bars:
        _beside.append(bars)
        try:
            yield
        finally:
            _beside.pop()


@contextmanager
def _alone(unit: str) -> Iterator[Any]:
    from .bars import bars_on

    _drawn.append("a bar")
    try:
        with bars_on(err, sized=unit == "bytes") as bars:
            yield bars
    finally:
        _drawn.pop()


@contextmanager
def _bar(description: str, *, total: int | None, unit: str, done: int) -> Iterator[Task]:
    with nullcontext(_beside[-1]) if _beside else _alone(unit) as bars:
        task = bars.add_task(description, total=total, completed=done, note="", unit=unit)
        row = bars.tasks[-1]

        def show(reached: int, note: str) -> None:
            fields: dict[str, Any] = {"note": note} if note else {}
            bars.update(task, completed=reached, **fields)

        try:
            yield Task(show, done)
            whole = row.completed or 1  # where fewer came than were expected; of nothing too, all is done
            bars.update(task, total=whole, completed=whole)
        finally:
            if bars in _beside:  # it stays as a line above those that go on
                bars.remove_task(task)
                err.print(bars.make_tasks_table([row]))
