"""Carrying out a plan, step by step: every command that trains or tests ends here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.errors import UserError

from .. import inventory
from ..jobs import launch
from ..jobs.job import Job, Outcome, Start
from ..jobs.known import Known
from ..jobs.preflight import Resolved
from ..jobs.training_spec import TrainSpec
from ..settings import Home
from ..terminal.console import print_error, say
from ..terminal.durations import duration
from ..terminal.errors import explained
from .merging import job_of, together
from .resources import Resources, took_and_planned, total, total_at_once, used_by
from .steps import Between, Fetch, Step

Made = tuple[str, str | TrainSpec]  # by the kind of step that makes it
FAILURES = (UserError, OSError, RuntimeError)  # RuntimeError: the accelerator's memory, for one


@dataclass(frozen=True)
class Failure:
    """A step that could not be done."""

    title: str
    error: str
    hint: str


@dataclass
class Execution:
    """Does what is left of a plan, one step after the other, or `at_once` so many that need not wait for one another.
    What is finished is kept: interrupted, the same plan goes on where it was."""

    home: Home
    start: Start = field(default_factory=Start)
    resolved: Mapping[Job, Resolved] = field(default_factory=dict)  # jobs whose names have been looked up already
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    lost: dict[Made, str] = field(default_factory=dict)  # what is not to be had, and the step that failed
    done: list[tuple[Resources, Resources]] = field(default_factory=list)  # what each job took, and what was planned
    at_once: int = 1
    seconds: float | None = None  # that all of it took, where several were done at once

    def all_of(self, steps: Sequence[Step]) -> list[Outcome]:
        """What comes of each job. The first error ends the plan."""
        done = [self._do(group) for group in self._told(steps)]
        return [outcome for outcome in done if outcome]

    def what_can_be(self, steps: Sequence[Step]) -> list[Failure]:
        """The steps that failed, after all others: what fails takes only those with it that need it."""
        if self.at_once > 1:
            from .at_once import carry_out

            carry_out(self, steps)
            return self.failures
        for group in self._told(steps):
            if self.missed(group[0]):
                self.miss(group)
            else:
                self.attempt(group)
        return self.failures

    def told(self) -> dict[str, Any]:
        """What all jobs took together that had something to do, beside what was planned, as JSON has it; it is said
        where they were several."""
        if not self.done:
            return {}
        took, planned = (total_at_once(every, self.at_once) for every in zip(*self.done, strict=True))
        if self.seconds is not None:
            took = replace(took, seconds=self.seconds)
        if len(self.done) > 1:
            say(f"all of it {took_and_planned(took, planned)}", style="dim")
        return {"took": took.document(), "planned": planned.document()}

    def attempt(self, group: list[Step]) -> None:
        """Do the steps of a group at once; where that fails, each by itself: what is done is there, and what fails is
        told of the step that it belongs to."""
        try:
            if outcome := self._do(group):
                self.outcomes.append(outcome)
        except FAILURES as error:
            trains = group[0].work.train if isinstance(group[0].work, Job) else None
            if len(group) > 1 and not (trains and Known(self.home).run(trains) is None):
                say("one of them failed: each is done by itself now, what is there is kept", style="dim")
                for step in group:
                    self.attempt([self.named(step)])
                return
            self.fail(group[:1], explained(error))
            self.miss(group[1:])

    def _told(self, steps: Sequence[Step]) -> Iterator[list[Step]]:
        """The steps of each job, with the names that others gave to what they need, after the lines that say what
        begins. What needs something that failed is by itself."""
        todo = [step for step in steps if not step.cached]
        done = 0
        for planned in together(todo):
            rest = [self.named(step) for step in planned]
            while rest:
                lost = [step for step in rest if self.missed(step)]
                group = lost[:1] or rest
                if len(todo) > 1 and not lost:
                    tell(group, done, of=len(todo))
                yield group
                done, rest = done + len(group), [step for step in rest if step not in group]

    def named(self, step: Step) -> Step:
        """The step about the run, or the model on the way to it, that another step made."""
        job, known = step.work, Known(self.home)
        run = known.run(step.of) if step.of else None
        model = known.between(run, step.w) if run and step.w is not None else run
        if isinstance(job, Between) and run:
            return replace(step, work=replace(job, goal=run.id))
        if isinstance(job, Job) and job.evaluate and model:
            return replace(step, work=replace(job, evaluate=replace(job.evaluate, checkpoint=model.id)))
        return step

    def _do(self, group: Sequence[Step]) -> Outcome | None:
        job = group[0].work
        if isinstance(job, Fetch):
            inventory.fetch(job.name, self.home, kind=job.kind)
            return None
        if isinstance(job, Between):
            from ..models.interpolation import interpolate

            interpolate(job.start, job.goal, self.home, steps=job.steps)
            return None
        work, began, clock = job_of(group) or job, time.time(), time.monotonic()
        outcome = launch.run(work, self.start, resolved=self.resolved.get(job))
        if outcome.memory:
            took = used_by(work, outcome, self.home, began=began, seconds=time.monotonic() - clock)
            planned = total(step.resources for step in group)
            self.done.append((took, planned))
            say(took_and_planned(took, planned), style="dim")
        return outcome

    def miss(self, steps: Sequence[Step]) -> None:
        """These need what failed."""
        for step in steps:
            lost = self.missed(step)
            self._lose(step, Failure(step.title, f"not begun: it needs what failed ({lost})", ""), lost)

    def missed(self, step: Step) -> str:
        """The step that failed and that this one needs, empty where there is none."""
        return next((self.lost[part] for part in needed(step) if part in self.lost), "")

    def fail(self, steps: Sequence[Step], reason: UserError) -> None:
        """These failed, for a reason that is said once."""
        print_error(reason)
        for step in steps:
            self._lose(step, Failure(step.title, str(reason), reason.hint), step.title)

    def _lose(self, step: Step, failure: Failure, cause: str) -> None:
        """What the step would have made is not to be had."""
        self.failures.append(failure)
        if thing := made(step):
            self.lost[thing] = cause


def verdict(failures: Sequence[Failure], steps: Sequence[Step]) -> UserError | None:
    """What a command ends with where steps of its plan failed."""
    if not failures:
        return None
    first, begun = failures[0], sum(not failure.error.startswith("not begun") for failure in failures)
    others = f", {len(failures) - begun} that need them were not begun" if begun < len(failures) else ""
    todo = sum(not step.cached for step in steps)
    error = f"{begun} of {todo} steps failed{others}; the first, {first.title}: {first.error}"
    again = "type the same command again"
    return UserError(
        error, hint=first.hint if again in first.hint else "; then ".join(filter(None, (first.hint, again)))
    )


def made(step: Step) -> Made | None:
    """The dataset, model or run that others may need of a step."""
    thing = step.work.name if isinstance(step.work, Fetch) else step.run if step.kind != "evaluate" else None
    return (step.kind, thing) if thing else None


def needed(step: Step) -> list[Made]:
    """The datasets, models and runs without which a step cannot be done."""
    if isinstance(step.work, Fetch):
        return []
    runs: list[Made] = [("train", step.of)] if step.of and step.kind != "train" else []
    if isinstance(step.work, Between):
        return [*runs, ("fetch", step.work.start)]
    train, test = step.work.train, step.work.evaluate
    between: list[Made] = [("interpolate", step.of)] if step.of and step.w is not None else []
    names = [*([train.model, train.mlm, train.dataset] if train else ())]
    names += [test.checkpoint, test.mlm, *test.datasets] if test else []
    return [*runs, *between, *(("fetch", name) for name in names)]


def tell(group: Sequence[Step], done: int, *, of: int) -> None:
    """Say what begins, when `done` steps are before it."""
    for numbers, title, command in _lines(group, done):
        say(title, head=f"{numbers}/{of}")
        say(command, style="dim")


def _lines(group: Sequence[Step], done: int) -> Iterator[tuple[str, str, str]]:
    """What a person would type for a group, `done` steps before it: the numbers of the steps, what they are, and the
    command."""
    for some in together(group, typed=True):
        numbers = f"{done + 1}-{done + len(some)}" if len(some) > 1 else f"{done + 1}"
        more = ", ".join(name for step in some[1:] for name in step.tested_on)
        title = f"{some[0].title}{_about(some)}" + (f"; also on {more}" if more else "")
        yield numbers, title, replace(some[0], work=job_of(some) or some[0].work).command
        done += len(some)


def _about(steps: Sequence[Step]) -> str:
    step, seconds = steps[0], sum(step.seconds or 0 for step in steps)
    if isinstance(step.work, Fetch) and step.bytes:
        return f" · {step.bytes / 1e6:,.0f} MB"
    return f" · about {duration(seconds)}" if seconds else ""
