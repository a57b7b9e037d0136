"""Which steps of a plan are one job: the training of a run with its tests, and those of one checkpoint.

A job starts its processes once and loads its model once. So what tests one checkpoint is done at once, on all datasets
and with all settings, where the plan has it one behind the other; a training that comes right before takes them along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.worker import Job
from .merging import merged
from .steps import Step


def together(steps: Iterable[Step], *, typed: bool = False) -> Iterator[list[Step]]:
    """The steps in their order, those of one job in one list; or those that one command does, as it is `typed`."""
    group: list[Step] = []
    for step in steps:
        job = job_of([*group, step])
        if group and (job is None or (typed and (job.train or job.more))):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def job_of(steps: Sequence[Step]) -> Job | None:
    """The one job that does all of these; None where there is none."""
    first, works = steps[0], [step.work for step in steps]
    if not all(isinstance(work, Job) and not work.resume for work in works):
        return None
    jobs = [work for work in works if isinstance(work, Job)]
    trains, tests = jobs[0].train is not None, [job.evaluate for job in jobs if job.evaluate]
    alone = len(jobs) == 1
    own = all((step.of, step.w, step.start) == (first.of, first.w, first.start) for step in steps)
    only_tests = all(job.train is None for job in jobs[trains:])
    if alone or not own or not only_tests or (trains and not _after(jobs[0], tests)):
        return jobs[0] if alone else None
    test, *more = merged(tests, over="datasets")
    return replace(jobs[0], evaluate=test, more=tuple(more)) if all(_alike(test, other) for other in more) else None


def _after(training: Job, tests: Sequence[EvaluationSpec]) -> bool:
    """Whether these are tests of what a training leaves in the end, and it has none of its own."""
    return training.evaluate is None and all(test.epoch is None for test in tests)


def _alike(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Whether both load the same weights, and compute in the same way."""
    return all(getattr(one, name) == getattr(other, name) for name in ("checkpoint", "epoch", "precision", "fast"))
