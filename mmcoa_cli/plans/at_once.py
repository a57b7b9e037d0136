"""Steps of a plan that need not wait for one another, several at once: what small models gain by, which leave most of a
machine idle.

A process (`worker.py`) does one group of steps after the other, so that it loads the libraries once. It computes with
as many threads as this one would, because another number rounds sums differently. It shows nothing itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil  # type: ignore[import-untyped]

from store.errors import UserError

from ..jobs.launch import DIED, ended, stop_as
from ..processes import imports
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
    """A process, and what it does."""

    process: Any
    connection: Connection[Any, Any]
    group: Group | None = None

    def is_idle(self) -> bool:
        return self.group is None and self.process.poll() is None


@dataclass
class _Plan:
    """The groups that wait, and what came of others, by how many steps are before them."""

    whole: Execution
    of: int
    waiting: list[Group]
    started: list[Any]
    workers: list[Worker] = field(default_factory=list)
    parts: dict[int, Execution] = field(default_factory=dict)

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
        left, part = [*group.steps], Execution(self.whole.home, lost=dict(self.whole.lost))
        while lost := next((step for step in left if part.missed(step)), None):
            part.miss([lost])
            left.remove(lost)
        self._keep(group.done, part)
        return left

    def _start(self) -> Worker:
        ours, theirs = Pipe()
        words = [sys.executable, "-m", WORKER, str(theirs.fileno())]
        with theirs:
            self.started.append(psutil.Popen(words, env={**os.environ, **imports()}, pass_fds=[theirs.fileno()]))
        self.workers.append(Worker(self.started[-1], ours))
        return self.workers[-1]

    def heard(self, worker: Worker, shown: Several) -> None:
        """Take what a process tells."""
        assert worker.group
        head = f"{worker.group.done + 1}/{self.of}"
        try:
            kind, *values = worker.connection.recv()
        except (EOFError, OSError):
            shown.stop(head)
            values = [self._died(worker)]
        else:
            if kind != "done":
                getattr(shown, kind)(head, *values)
                return
        self._keep(worker.group.done, *values)
        worker.group = None

    def _died(self, worker: Worker) -> Execution:
        """What comes of a group whose process died, killed perhaps."""
        assert worker.group
        self.workers.remove(worker)
        stop_as([worker.process.wait()])
        part = Execution(self.whole.home)
        part.fail(worker.group.steps, DEAD)
        return part

    def _keep(self, number: int, part: Execution) -> None:
        self.whole.lost.update(part.lost)
        if number in self.parts:
            part.failures[:0] = self.parts[number].failures
        self.parts[number] = part


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
    for _, part in sorted(plan.parts.items()):
        execution.outcomes += part.outcomes
        execution.failures += part.failures
        execution.done += part.done
    execution.seconds = time.monotonic() - began
