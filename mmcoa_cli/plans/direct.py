"""Plans that are typed: a training with its test, the same by several seeds, several checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..jobs.conduct import Conduct
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after
from ..jobs.preflight import resolve
from ..jobs.training_spec import TrainSpec
from ..jobs.worker import Job, Outcome, Start
from ..settings import home
from .execution import Execution
from .steps import Step


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


def evaluate(specs: Sequence[EvaluationSpec], start: Start) -> list[Outcome]:
    """Test each run or model."""
    return carry_out(test_jobs(specs), start)


def steps_of(jobs: Sequence[Job], start: Start) -> list[Step]:
    """The jobs as the steps of a plan."""
    return [Step(job, _title(job), start=start) for job in jobs]


def carry_out(jobs: Sequence[Job], start: Start) -> list[Outcome]:
    """Do these jobs; what keeps any from being done is told before the first, where it can be known."""
    return Execution(home(), start, {job: resolve(job, home()) for job in jobs}).all_of(steps_of(jobs, start))


def _title(job: Job) -> str:
    if spec := job.train:
        if not spec.row.loss:
            return f"test {spec.method}, zero-shot on {spec.dataset}, seed {spec.seed}"
        return f"train {spec.method}, {spec.shots} on {spec.dataset}, seed {spec.seed}"
    test = job.evaluate
    return f"test {test.checkpoint}{f' after epoch {test.epoch}' if test.epoch else ''}" if test else ""
