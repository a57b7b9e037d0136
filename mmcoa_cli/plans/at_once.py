"""Steps of a plan that need not wait for one another, several at once: for machines of several GPUs, and small models,
which leave most of a machine idle.

A process (`worker.py`) does one group of steps after the other, so that it loads the libraries once. It has a GPU of
its own, where there are enough. It computes with as many threads as this one would, because another number rounds sums
differently. It shows nothing itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from operator import itemgetter
from typing import Any

import psutil  # type: ignore[import-untyped]

from store.errors import UserError

from ..jobs.launch import DIED, ended, stop_as
from ..processes import imports, own_device
from ..terminal.console import side_by_side
from ..terminal.ending import GO_ON
from ..terminal.several import Several
from .execution import Execution, made, needed, tell
from .merging import together
from .steps import Step

WORKER = "mmcoa_cli.plans.worker"
DEAD = UserError(DIED, hint=GO_ON)


@dataclass(frozen=True)
class Group:
    """Steps that one process does, `done` steps of the plan before them."""

    steps: tuple[Step, ...]
    done: int


@dataclass(eq=False)
class Worker:
    """A process, and what it does; `number` decides its device."""

    process: Any
    connection: Connection[Any, Any]
    number: int
    group: Group | None = None

    def is_idle(self) -> bool:
        return self.group is None and self.process.poll() is None


@dataclass
class _Plan:
    """The groups that wait, and what came of others (or of some steps of one), each with how many steps are before
    it."""

    whole: Execution
    of: int
    waiting: list[Group]
    started: list[Any]
    workers: list[Worker] = field(default_factory=list)
    parts: list[tuple[int, Execution]] = field(default_factory=list)

    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.group]

    def begin(self) -> None:
        """Give what can be begun to processes that do nothing, or to new ones."""
        for group in self._ready():
            if len(self.busy()) == self.whole.at_once:
                return
            self.waiting.remove(group)
            if left := self._left(group):
                tell(left, group.done, of=self.of)
                worker = next(filter(Worker.is_idle, self.workers), None) or self._start()
                worker.group = replace(group, steps=tuple(left))
                worker.connection.send((self.whole.start, [self.whole.named(step) for step in left]))

    def _ready(self) -> Iterator[Group]:
        """Those that need nothing that is still to be made by another."""
        for group in [*self.waiting]:
            others = [*self.waiting, *(worker.group for worker in self.workers if worker.group)]
            to_come = {made(step) for other in others if other is not group for step in other.steps}
            if not any(part in to_come for step in group.steps for part in needed(step)):
                yield group

    def _left(self, group: Group) -> list[Step]:
        """The steps of a group that can be done; what failed is needed by the others."""
        left, part = [*group.steps], self._part(group)
        while lost := next((step for step in left if part.missed(step)), None):
            part.miss([lost])
            left.remove(lost)
        return left

    def _part(self, group: Group) -> Execution:
        """What is to come of a group where no process does it; what is lost by that is lost to all."""
        self.parts.append((group.done, Execution(self.whole.home, lost=self.whole.lost)))
        return self.parts[-1][1]

    def _start(self) -> Worker:
        ours, theirs = Pipe()
        words = [sys.executable, "-m", WORKER, str(theirs.fileno()), *({"--debug"} & {*sys.argv})]
        taken = {worker.number for worker in self.workers if worker.process.poll() is None}
        number = next(number for number in count() if number not in taken)
        env = {**os.environ, **imports(), **own_device(number)}
        with theirs:
            self.started.append(psutil.Popen(words, env=env, pass_fds=[theirs.fileno()]))
        self.workers.append(Worker(self.started[-1], ours, number))
        return self.workers[-1]

    def heard(self, worker: Worker, shown: Several) -> None:
        """Take what a process tells."""
        assert worker.group
        head = f"{worker.group.done + 1}/{self.of}"
        try:
            kind, *values = worker.connection.recv()
        except (EOFError, OSError):
            shown.stop(head)
            self.workers.remove(worker)
            stop_as([worker.process.wait()])
            self._part(worker.group).fail(worker.group.steps, DEAD)
            return
        if kind != "done":
            getattr(shown, kind)(head, *values)
            return
        (part,) = values
        self.parts.append((worker.group.done, part))
        self.whole.lost.update(part.lost)
        worker.group = None


def carry_out(execution: Execution, steps: Sequence[Step]) -> None:
    """Do what is left of the steps, and leave in `execution` what came of it, in their order."""
    todo, groups, began = [step for step in steps if not step.cached], list[Group](), time.monotonic()
    for group in together(todo):
        groups.append(Group(tuple(group), done=sum(len(before.steps) for before in groups)))
    with side_by_side(), closing(Several()) as shown, ended() as started:
        plan = _Plan(execution, len(todo), groups, started)
        while plan.waiting or plan.busy():
            plan.begin()
            told = wait([worker.connection for worker in plan.busy()]) if plan.busy() else []
            for worker in [worker for worker in plan.busy() if worker.connection in told]:
                plan.heard(worker, shown)
    for _, part in sorted(plan.parts, key=itemgetter(0)):
        execution.outcomes += part.outcomes
        execution.failures += part.failures
        execution.done += part.done
    execution.seconds = time.monotonic() - began
