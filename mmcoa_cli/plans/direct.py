"""Plans that are typed: a training with its test, the same by several seeds, several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after
from ..jobs.preflight import resolve
from ..jobs.training_spec import TrainSpec
from ..jobs.worker import Job, Outcome, Start
from ..settings import home
from .execution import Execution
from .steps import Step


def train(
    specs: Sequence[TrainSpec], start: Start, *, tested: bool = True, resume: str = "", keep: int | None = None
) -> list[Outcome]:
    """Train each run, and test it unless not `tested`; `resume` is the run to go on with, `keep` how many of the last
    epochs stay."""
    jobs = [Job(spec, evaluation_after(spec) if tested else None, resume, keep) for spec in specs]
    return carry_out(list(map(_title, specs)), jobs, start)


def evaluate(specs: Sequence[EvaluationSpec], start: Start) -> list[Outcome]:
    """Test each run or model."""
    titles = [f"test {spec.checkpoint}{f' after epoch {spec.epoch}' if spec.epoch else ''}" for spec in specs]
    return carry_out(titles, [Job(evaluate=spec) for spec in specs], start)


def _title(spec: TrainSpec) -> str:
    if not spec.row.loss:
        return f"test {spec.method}, zero-shot on {spec.dataset}, seed {spec.seed}"
    return f"train {spec.method}, {spec.shots} on {spec.dataset}, seed {spec.seed}"


def carry_out(titles: Sequence[str], jobs: Sequence[Job], start: Start) -> list[Outcome]:
    """Do these jobs; what keeps any from being done is told before the first, where it can be known."""
    steps = [Step(job, title, start=start) for title, job in zip(titles, jobs, strict=True)]
    return Execution(home(), start, {job: resolve(job, home()) for job in jobs}).all_of(steps)
