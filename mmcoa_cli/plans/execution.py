"""Doing what a plan says, step by step; what fails takes only those steps with it that need it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from store.errors import UserError

from .. import inventory
from ..jobs import launch
from ..jobs.specs import TrainSpec
from ..jobs.worker import Job, Outcome
from ..settings import Home
from ..terminal.console import print_error, say
from ..terminal.errors import explained
from .known import Known
from .order import Order
from .plan import Evaluate, Fetch, Plan, Step
from .wording import duration


@dataclass(frozen=True)
class Failure:
    """A step that could not be done."""

    title: str
    error: str
    hint: str


def carry_out(plan: Plan, home: Home) -> list[Failure]:
    """Do every step that is not done yet. Returns those that failed; a step that needs one of them is not begun.

    What is finished is kept: interrupted, the same plan goes on where it was.
    """
    worker = Worker(plan.order, home, Known.of(home))
    todo, failures = plan.todo, []
    for number, step in enumerate(todo, 1):
        if lost := worker.lost(step):
            failures.append(Failure(step.title, f"not begun: it needs what failed ({lost})", ""))
            continue
        say(f"{step.title}{_about(step)}", head=f"{number}/{len(todo)}")
        say(step.command, style="dim")
        try:
            worker.do(step)
        except (UserError, OSError, RuntimeError) as error:  # RuntimeError: the accelerator's memory, for one
            reason = explained(error)
            print_error(reason)
            failures.append(Failure(step.title, str(reason), reason.hint))
            worker.lose(step)
    return failures


def verdict(failures: list[Failure], plan: Plan) -> UserError | None:
    """What the command ends with where steps failed."""
    if not failures:
        return None
    first, begun = failures[0], sum(not failure.error.startswith("not begun") for failure in failures)
    others = f", {len(failures) - begun} that need them were not begun" if begun < len(failures) else ""
    error = f"{begun} of {len(plan.todo)} steps failed{others}; the first, {first.title}: {first.error}"
    return UserError(error, hint=f"{first.hint}; then type the same command again")


class Worker:
    """Does one step after the other, and knows which datasets and runs are not to be had."""

    def __init__(self, order: Order, home: Home, known: Known) -> None:
        self._order, self._home, self._known = order, home, known
        self._runs: dict[TrainSpec, str] = {}
        self._lost: dict[str | TrainSpec, str] = {}  # a dataset, model or run, and the title of the step that failed

    def lost(self, step: Step) -> str:
        """The step that failed and that this one needs, empty where there is none."""
        lost = next((self._lost[part] for part in _needed(step) if part in self._lost), "")
        if lost and isinstance(step.work, TrainSpec):
            self._lost[step.work] = lost
        return lost

    def do(self, step: Step) -> None:
        """Raises what keeps the step from being done."""
        work = step.work
        if isinstance(work, Fetch):
            inventory.fetch(work.name, self._home, kind=work.kind)
        elif isinstance(work, TrainSpec):
            self._runs[work] = self._launch(Job(train=work)).run
        else:
            checkpoint = self._run(work.run) if work.run else work.spec.checkpoint
            self._launch(Job(evaluate=replace(work.spec, checkpoint=checkpoint)))

    def lose(self, step: Step) -> None:
        """What the step would have made is not to be had."""
        if not isinstance(step.work, Evaluate):
            self._lost[step.work.name if isinstance(step.work, Fetch) else step.work] = step.title

    def _run(self, spec: TrainSpec) -> str:
        return self._runs.get(spec) or self._known.run(spec) or spec.run_name

    def _launch(self, job: Job) -> Outcome:
        return launch.run(job, processes=self._order.processes, accelerate_config=self._order.accelerate_config)


def _needed(step: Step) -> list[str | TrainSpec]:
    """The datasets, models and runs without which a step cannot be done."""
    work = step.work
    if isinstance(work, Fetch):
        return []
    if isinstance(work, TrainSpec):
        return [work.model, work.mlm, work.dataset]
    return [work.run or work.spec.checkpoint, work.spec.mlm, work.dataset]


def _about(step: Step) -> str:
    if isinstance(step.work, Fetch) and step.work.bytes:
        return f" · {step.work.bytes / 1e6:,.0f} MB"
    return f" · about {duration(step.seconds)}" if step.seconds else ""
