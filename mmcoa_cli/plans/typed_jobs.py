"""Plans that are typed: a training with its test, a grid of them, several checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.errors import UserError

from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after
from ..jobs.job import Conduct, Job, Outcome, Start
from ..jobs.preflight import mlms_of, models_of, resolve
from ..jobs.training_spec import TrainSpec, in_words
from ..reports import results
from ..settings import home
from ..terminal.console import say
from .disk import tell_disk, written_by
from .execution import Execution, verdict
from .resources import recalled
from .steps import Step, fetching_models


@dataclass(frozen=True)
class Done:
    """What came of each job that was done, and what it took (as `Execution.told` has it); and what the command ends
    with where one of several was not."""

    outcomes: Sequence[Outcome]
    took: Mapping[str, Any] = field(default_factory=dict)
    failure: UserError | None = None

    def end(self) -> None:
        """Raises that."""
        if self.failure:
            raise self.failure


def training_jobs(
    specs: Sequence[TrainSpec],
    *,
    test: Mapping[str, int | None] | None = None,
    resume: str = "",
    keep: int | None = 1,
    conduct: Conduct | None = None,
) -> list[Job]:
    """To train each run, with a test of this size after it (None: without one); `resume` is the run to go on with,
    `keep` how many of the last epochs stay."""
    tests = [None if test is None else evaluation_after(spec, **test) for spec in specs]
    return [Job(spec, own, resume, keep, conduct or Conduct()) for spec, own in zip(specs, tests, strict=True)]


def test_jobs(specs: Sequence[EvaluationSpec]) -> list[Job]:
    """To test each run or model."""
    return [Job(evaluate=spec) for spec in specs]


def evaluate(specs: Sequence[EvaluationSpec], start: Start) -> Done:
    """Test each run or model."""
    return carry_out(test_jobs(specs), start)


def command(
    jobs: Sequence[Job], start: Start, *, at_once: int = 1, dry_run: bool, as_json: bool, files: bool = False
) -> None:
    """Do these jobs, `at_once` so many, and print their results, with `files` where the examples lie; with `dry_run`
    say what they would take. Raises UserError at the end where one of several was not done."""
    if dry_run:
        from .dry_run import show

        return show(jobs, start, at_once=at_once, as_json=as_json)
    if at_once > len(jobs) == 1:
        say("--jobs has no use for a single step; --processes shares it among several GPUs", style="dim")
    done = carry_out(jobs, start, at_once=at_once)
    results.show(done.outcomes, as_json=as_json, files=files, took=done.took)
    return done.end()


def steps_of(jobs: Sequence[Job], start: Start) -> list[Step]:
    """The jobs as the steps of a plan."""
    return [Step(job, title, start=start) for job, title in zip(jobs, _titles(jobs), strict=True)]


def carry_out(jobs: Sequence[Job], start: Start, *, at_once: int = 1) -> Done:
    """Do these jobs, `at_once` so many; what keeps any from being done is told before the first, where it can be known.
    Where one of several fails later, the others are done all the same."""
    written = written_by(jobs, home())
    tell_disk(written, home())
    several = at_once > 1 and sum(bool(some) for some in written.values()) > 1
    if several:
        home().models.mkdir(parents=True, exist_ok=True)  # where nothing can be written, that is said once
    resolved = {job: resolve(job, home(), fetch=not several) for job in jobs}
    execution = Execution(home(), start, {} if several else resolved, at_once=at_once if several else 1)
    left = [sum(written.get(job, {}).values()) for job in jobs]
    steps = [_estimated(step, some) for step, some in zip(steps_of(jobs, start), left, strict=True)]
    if len(steps) == 1:
        return Done(execution.all_of(steps), execution.told())
    steps = [*(_models(jobs) if several else ()), *steps]
    failures = execution.what_can_be(steps)
    return Done(execution.outcomes, execution.told(), verdict(failures, steps))


def _models(jobs: Sequence[Job]) -> Iterator[Step]:
    """To bring the models of these jobs into the store."""
    models = (name for job in jobs for name in models_of(job, home()))
    return fetching_models(models, (name for job in jobs for name in mlms_of(job)), home())


def _estimated(step: Step, left: float) -> Step:
    """The step with what a dry run said that it takes; else with the bytes that it should leave."""
    found = recalled(step.command, home())
    return replace(step, resources=found if found.bytes is not None else replace(found, bytes=left or None))


def _titles(jobs: Sequence[Job]) -> Iterator[str]:
    """What each job is, with what sets it apart from others."""
    specs = [job.train for job in jobs if job.train]
    varied = [name for name in ("model", "lr") if len({getattr(spec, name) for spec in specs}) > 1]
    for job in jobs:
        if spec := job.train:
            apart = "".join(f", {name} {getattr(spec, name)}" for name in varied if spec.row.loss or name != "lr")
            made = f"train {spec.method}, {in_words(spec.shots)}" if spec.row.loss else f"test {spec.method}, zero-shot"
            yield f"{made} on {spec.dataset}{apart}, seed {spec.seed}"
        elif test := job.evaluate:
            yield f"test {test.checkpoint}{f' after epoch {test.epoch}' if test.epoch else ''}"
