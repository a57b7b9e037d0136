"""Progress where nothing can be drawn over: in a log, a pipe, a job of a cluster. Whole lines, and no control codes.

A line at the start, one at least every 30 seconds (also while a single step takes longer), one at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from rich.filesize import decimal

from .durations import closely

EVERY = 30.0  # seconds between two lines, at most
LATEST = EVERY - 2  # seconds after which the next is written: looked for once a second

Say = Callable[[str], None]
Clock = Callable[[], float]


@dataclass
class PlainProgress:
    """What is done of a piece of work, told through `say`. `done` units were there before it began."""

    title: str
    total: int | None
    unit: str
    say: Say
    done: int = 0
    clock: Clock = time.monotonic
    note: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._before, self._began = self.done, self.clock()
        self._told = self._began

    def begin(self) -> None:
        """The first line: what there is to do."""
        if self.total is None:
            self.say(f"{self.title}: begun")
        elif self.done:
            self.say(f"{self.title}: goes on at {self._count(self.done)} of {self._all()}")
        else:
            self.say(f"{self.title}: {self._all()}")

    def reach(self, done: int, note: str = "") -> None:
        """So much is done in all."""
        self.done, self.note = done, note or self.note
        self.tell()

    def tell(self) -> None:
        """How far it is, where the last line is old enough."""
        with self._lock:
            if self.clock() - self._told < LATEST:
                return
            self._told = self.clock()
            self.say(f"{self.title}: {', '.join([self._how_far(), *self._rate(), *self._left(), *self._noted()])}")

    def end(self, *, whole: bool = True) -> None:
        """The last line: how long it took."""
        took = closely(self.clock() - self._began)
        if whole and not self.done:
            self.say(f"{self.title}: done in {took}")
            return
        if not whole:
            self.say(f"{self.title}: stopped at {self._how_far()}, after {took}")
            return
        self.say(f"{self.title}: {', '.join([f'{self._count(self.done)} {self._named}in {took}', *self._rate()])}")

    def _how_far(self) -> str:
        if self.total is None:
            return f"{self._count(self.done)} {self._named}so far" if self.done else "under way"
        share = f" ({100 * self.done // self.total}%)" if self.total else ""
        return f"{self._count(self.done)} of {self._all()}{share}"

    def _rate(self) -> list[str]:
        speed = self._speed()
        return [per_second(speed, self.unit)] if speed else []

    def _left(self) -> list[str]:
        speed = self._speed()
        if self.total is None:
            return [closely(self.clock() - self._began)]
        return [f"{closely((self.total - self.done) / speed)} left"] if speed else []

    def _noted(self) -> list[str]:
        return [self.note] if self.note else []

    def _speed(self) -> float:
        took = self.clock() - self._began
        return (self.done - self._before) / took if took > 0 else 0.0

    def _all(self) -> str:
        return f"{self._count(self.total or 0)} {self._named}".rstrip()

    def _count(self, number: int) -> str:
        return decimal(number) if self.unit == "bytes" else f"{number:,}"

    @property
    def _named(self) -> str:
        return "" if self.unit == "bytes" else f"{self.unit} "


@dataclass
class Heart:
    """Has `tell` called about once a second from a thread of its own, until `stop`."""

    tell: Callable[[], None]
    wait: Callable[[float], bool] | None = None  # for so many seconds; True where it is over

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(self.wait or self._over.wait,), daemon=True)
        with suppress(RuntimeError):  # no memory is left for it: lines are told where something is counted
            self._thread.start()

    def _beat(self, wait: Callable[[float], bool]) -> None:
        while not wait(1.0):
            with suppress(OSError, ValueError):  # stderr may be closed meanwhile
                self.tell()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()


def per_second(speed: float, unit: str) -> str:
    """ "34 images/s", "3.4 images/s", "1.2 MB/s"."""
    if unit == "bytes":
        return f"{decimal(int(speed))}/s"
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.1f} {unit}/s"
