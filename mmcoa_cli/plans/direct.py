"""Plans that are typed: a training with its test, a grid of them, several checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from store.errors import UserError

from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after
from ..jobs.preflight import resolve
from ..jobs.training_spec import TrainSpec
from ..jobs.worker import Job, Outcome, Start
from ..settings import home
from .execution import Execution, verdict
from .steps import Step


@dataclass(frozen=True)
class Done:
    """What came of each job that was done; and what the command ends with where one of several was not."""

    outcomes: Sequence[Outcome]
    failure: UserError | None = None

    def end(self) -> None:
        """Raises that."""
        if self.failure:
            raise self.failure


def train(
    specs: Sequence[TrainSpec], start: Start, *, tested: bool = True, resume: str = "", keep: int | None = None
) -> Done:
    """Train each run, and test it unless not `tested`; `resume` is the run to go on with, `keep` how many of the last
    epochs stay."""
    jobs = [Job(spec, evaluation_after(spec) if tested else None, resume, keep) for spec in specs]
    return carry_out(_titles(specs), jobs, start)


def evaluate(specs: Sequence[EvaluationSpec], start: Start) -> Done:
    """Test each run or model."""
    titles = [f"test {spec.checkpoint}{f' after epoch {spec.epoch}' if spec.epoch else ''}" for spec in specs]
    return carry_out(titles, [Job(evaluate=spec) for spec in specs], start)


def carry_out(titles: Iterable[str], jobs: Sequence[Job], start: Start) -> Done:
    """Do these jobs; what keeps any from being done is told before the first, where it can be known. Where one of
    several fails later, the others are done all the same."""
    steps = [Step(job, title, start=start) for title, job in zip(titles, jobs, strict=True)]
    execution = Execution(home(), start, {job: resolve(job, home()) for job in jobs})
    if len(steps) == 1:
        return Done(execution.all_of(steps))
    return Done(execution.outcomes, verdict(execution.what_can_be(steps), steps))


def _titles(specs: Sequence[TrainSpec]) -> Iterator[str]:
    """What each run is, with what sets it apart from others."""
    varied = [name for name in ("model", "lr") if len({getattr(spec, name) for spec in specs}) > 1]
    for spec in specs:
        apart = "".join(f", {name} {getattr(spec, name)}" for name in varied if spec.row.loss or name != "lr")
        made = f"train {spec.method}, {spec.shots}" if spec.row.loss else f"test {spec.method}, zero-shot"
        yield f"{made} on {spec.dataset}{apart}, seed {spec.seed}"
