"""Which steps of a plan are one job: the training of a run with its tests, and those of one checkpoint.

A job starts its processes once and loads its model once. So what tests one checkpoint with the same settings is done at
once, on all datasets, where the plan has it one behind the other; a training that comes right before takes them along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.worker import Job
from .merging import merged
from .steps import Step


def together(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """The steps in their order, those of one job in one list."""
    group: list[Step] = []
    for step in steps:
        if group and job_of([*group, step]) is None:
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
    test = _one(tests)
    return replace(jobs[0], evaluate=test) if test else None


def _after(training: Job, tests: Sequence[EvaluationSpec]) -> bool:
    """Whether these are tests of what a training leaves in the end, and it has none of its own."""
    return training.evaluate is None and all(test.epoch is None for test in tests)


def _one(tests: Sequence[EvaluationSpec]) -> EvaluationSpec | None:
    """Tests that differ in their datasets alone as one."""
    found = merged(tests, over="datasets")
    return found[0] if len(found) == 1 else None
