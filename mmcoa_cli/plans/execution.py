"""Carrying out a plan, step by step: every command that trains or tests ends here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from store.errors import UserError

from .. import inventory
from ..jobs import launch
from ..jobs.preflight import require
from ..jobs.specs import TrainSpec
from ..jobs.worker import Job, Outcome
from ..settings import Home
from ..terminal.console import print_error, say
from ..terminal.errors import explained
from .known import Known
from .steps import Fetch, Start, Step, todo
from .wording import duration

FAILURES = (UserError, OSError, RuntimeError)  # RuntimeError: the accelerator's memory, for one


@dataclass(frozen=True)
class Failure:
    """A step that could not be done."""

    title: str
    error: str
    hint: str


@dataclass
class Execution:
    """What has come of a plan: of its jobs, in their order, and the steps that failed."""

    home: Home
    start: Start
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _lost: dict[str | TrainSpec, str] = field(default_factory=dict)  # what is not to be had, and the step that failed

    def go_through(self, steps: Sequence[Step], *, keep_going: bool) -> None:
        """Do what is not done yet. What is finished is kept: interrupted, the same plan goes on where it was.

        A step that fails ends the plan with its error; with `keep_going` only those that need it are left out.
        """
        every = todo(steps)
        for step in steps:
            if step.found is None:
                self._tell(step, number=every.index(step) + 1, of=len(every))
                self._try(step) if keep_going else self._do(step)
            elif isinstance(step.work, Job):
                self._take(step.work, step.found)

    def verdict(self, steps: Sequence[Step]) -> UserError | None:
        """What a command ends with where steps failed."""
        if not self.failures:
            return None
        first, begun = self.failures[0], sum(not one.error.startswith("not begun") for one in self.failures)
        rest = len(self.failures) - begun
        others = f", {rest} that need them were not begun" if rest else ""
        error = f"{begun} of {len(todo(steps))} steps failed{others}; the first, {first.title}: {first.error}"
        return UserError(error, hint=f"{first.hint}; then type the same command again")

    def _tell(self, step: Step, *, number: int, of: int) -> None:
        if of > 1 and not self._missed(step):
            say(f"{step.title}{_about(step)}", head=f"{number}/{of}")
            say(step.command, style="dim")

    def _try(self, step: Step) -> None:
        if lost := self._missed(step):
            self.failures.append(Failure(step.title, f"not begun: it needs what failed ({lost})", ""))
            self._lose(step, lost)
            return
        try:
            self._do(step)
        except FAILURES as error:
            reason = explained(error)
            print_error(reason)
            self.failures.append(Failure(step.title, str(reason), reason.hint))
            self._lose(step, step.title)

    def _do(self, step: Step) -> None:
        if isinstance(step.work, Fetch):
            inventory.fetch(step.work.name, self.home, kind=step.work.kind)
            return
        job = step.work
        if step.of and job.evaluate:
            run = Known.of(self.home).run(step.of)
            checkpoint = run.id if run else job.evaluate.checkpoint
            job = replace(job, evaluate=replace(job.evaluate, checkpoint=checkpoint))
        config = self.start.accelerate_config
        self.outcomes.append(launch.run(job, processes=self.start.processes, accelerate_config=config))

    def _take(self, job: Job, found: Outcome) -> None:
        require(job, self.home)
        if job.train and job.evaluate:
            say(f"run {found.run} is in the store already")
        self.outcomes.append(found)

    def _missed(self, step: Step) -> str:
        """The step that failed and that this one needs, empty where there is none."""
        return next((self._lost[part] for part in _needed(step) if part in self._lost), "")

    def _lose(self, step: Step, failed: str) -> None:
        """What the step would have made is not to be had."""
        made = step.work.name if isinstance(step.work, Fetch) else step.work.train
        if made:
            self._lost[made] = failed


def _needed(step: Step) -> list[str | TrainSpec]:
    """The datasets, models and runs without which a step cannot be done."""
    if isinstance(step.work, Fetch):
        return []
    train, test = step.work.train, step.work.evaluate
    found: list[str | TrainSpec] = [train.model, train.mlm, train.dataset] if train else []
    return found + ([step.of or test.checkpoint, test.mlm, *test.datasets] if test else [])


def _about(step: Step) -> str:
    if isinstance(step.work, Fetch) and step.work.bytes:
        return f" · {step.work.bytes / 1e6:,.0f} MB"
    return f" · about {duration(step.seconds)}" if step.seconds else ""
