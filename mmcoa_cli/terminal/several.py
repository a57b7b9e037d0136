"""What one process shows of others that work at once: their lines as they come, and how far each is.

A worker sends messages (`console.shown_elsewhere`), each the name of a method of `Several` and what that takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from rich.text import Text

from . import console

OFTEN = 0.1  # seconds between two messages on how far something is
_numbers = count()


@contextmanager
def sent(
    send: Callable[..., None], description: str, total: int | None, unit: str, done: int
) -> Iterator[Callable[[int, str], None]]:
    """Send that work is under way, how far it is (by what the block calls), and its end."""
    number, reached, told = next(_numbers), (done, ""), 0.0
    send("begin", number, description, total, unit, done)

    def reach(done: int, note: str) -> None:
        nonlocal reached, told
        reached = (done, note or reached[1])
        if time.monotonic() - told >= OFTEN:
            told = time.monotonic()
            send("reach", number, *reached)

    whole = False
    try:
        yield reach
        whole = True
    finally:
        send("reach", number, *reached)
        send("end", number, whole)


class Several:
    """Shows what workers send, each with the `head` of what it does."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int], tuple[Any, console.Task]] = {}

    def line(self, head: str, line: Text) -> None:
        console.say_line(Text.assemble((head, "bold"), " ", line))

    def begin(self, head: str, number: int, description: str, total: int | None, unit: str, done: int) -> None:
        bar = console.progress(f"{head} {description}", total=total, unit=unit, done=done)
        self._bars[head, number] = bar, bar.__enter__()

    def reach(self, head: str, number: int, done: int, note: str) -> None:
        self._bars[head, number][1].reach(done, note=note)

    def end(self, head: str, number: int, whole: bool) -> None:
        bar, _ = self._bars.pop((head, number))
        bar.__exit__(None, None, None) if whole else bar.__exit__(InterruptedError, InterruptedError(), None)

    def stop(self, head: str) -> None:
        """Nothing more will be heard of what has that head."""
        for of, number in [*self._bars]:
            if of == head:
                self.end(of, number, False)

    def close(self) -> None:
        """Nothing more will be heard of any."""
        for of, number in [*self._bars]:
            self.end(of, number, False)
