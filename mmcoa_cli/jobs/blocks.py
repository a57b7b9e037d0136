"""One pass over the images of a trial: all example sets that are missing, block by block.

The pixels of a block are read once, and ahead; each attack that lacks the block makes it, those first that others need;
and what is made is packed and written while the next is computed. In what order, and by whom, decides no bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from accelerate import Accelerator

from store.errors import UserError

from ..terminal.console import Task as Progress
from ..terminal.console import progress
from .making import Made, Making

BEHIND = 2  # blocks that are written while others are made
T = TypeVar("T")


@dataclass(frozen=True)
class Pass:
    """The sets of `sets` in the making, whose blocks are the same; needs before what needs them.

    An attack that fails takes only those with it that need it; in several processes, of which all do the same, all.
    Without an `accelerator` this process shares the work with none.
    """

    sets: Sequence[Making]
    accelerator: Accelerator | None = None
    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)  # that each attack took
    failed: dict[str, UserError] = field(default_factory=dict)

    def run(self) -> None:
        """Make the blocks that are missing, and each set whole when the other processes have made theirs.

        Raises the first UserError that an attack failed with, when all others are made.
        """
        for making in self.sets:
            self._try(making, making.prepare)  # before the clock of the blocks runs
        own = sorted({number for making in self.sets for number in making.todo})
        with self._told() as task, _Writer() as writer:
            for number, pixels in _ahead(own, self._pixels):
                for making in (one for one in self.sets if number in one.todo):
                    if made := self._try(making, partial(making.block, number, pixels, task)):
                        writer.write(making, number, made, pixels)
        if self.accelerator:
            self.accelerator.wait_for_everyone()
        for making in self.sets if self._first else ():
            self._try(making, making.finish)
        for error in self.failed.values():
            raise error

    @property
    def _first(self) -> bool:
        return self.accelerator is None or bool(self.accelerator.is_main_process)

    def _try(self, making: Making, work: Callable[[], T]) -> T | None:
        """What `work` gives; None where the attack fails, or has failed, or one that it needs."""
        name, began = making.attack.name, time.monotonic()
        if lost := next((self.failed[one] for one in (name, *making.attack.needs) if one in self.failed), None):
            self.failed[name] = lost
            return None
        try:
            return work()
        except UserError as error:
            if self.accelerator and self.accelerator.num_processes > 1:
                raise
            self.failed[name] = error
            return None
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def _pixels(self, number: int) -> Any:
        making = self.sets[0]
        return making.trial.pixels(making.examples.blocks()[number])

    @contextmanager
    def _told(self) -> Iterator[Progress]:
        """Progress in steps, where an image takes several."""
        one = self.sets[0]
        samples = [len(block) for block in one.examples.blocks()]
        total = sum(making.steps * sum(samples) for making in self.sets)
        mine = sum(making.steps * samples[number] for making in self.sets for number in making.todo)
        unit = "steps" if any(making.steps > 1 for making in self.sets) else "images"
        title = f"{', '.join(making.attack.name for making in self.sets)} on {one.trial.name}"
        quiet = self.quiet or one.trial.quiet or not self._first
        with progress(title, total=total, unit=unit, done=total - mine, quiet=quiet) as task:
            yield task


class _Writer:
    """Writes blocks in a thread of its own, a few behind what is made."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._writing: list[Future[None]] = []

    def write(self, making: Making, number: int, made: Made, pixels: Any) -> None:
        """Raises what went wrong with a block before it."""
        while len(self._writing) >= BEHIND:
            self._writing.pop(0).result()
        images = None if made.images is None else (pixels, made.images)
        self._writing.append(self._pool.submit(making.examples.write_block, number, made.columns, images))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *raised: object) -> None:
        """All is written, also where the making ended with an error: its blocks are kept."""
        self._pool.shutdown()
        for writing in self._writing if raised[0] is None else ():
            writing.result()


def _ahead(numbers: Iterable[int], read: Callable[[int], Any]) -> Iterator[tuple[int, Any]]:
    """Each number with what is read for it, which happens while the one before is worked on."""
    with ThreadPoolExecutor(1) as pool:
        before: tuple[int, Future[Any]] | None = None
        for number in numbers:
            after = (number, pool.submit(read, number))
            if before:
                yield before[0], before[1].result()
            before = after
        if before:
            yield before[0], before[1].result()
