"""Which steps of a plan are one job, and which tests one command.

A job starts its processes once and loads its model once. So what tests one checkpoint is done at once, on all datasets
and with all settings, where the plan has it one behind the other; a training that comes right before takes them along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.job import Job

if TYPE_CHECKING:
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
    jobs = [step.work for step in steps if isinstance(step.work, Job)]
    if len(jobs) < len(steps) or any(job.resume for job in jobs):
        return None
    first, *others = jobs
    if not others:
        return first
    about, tests = {(step.of, step.w, step.start) for step in steps}, [job.evaluate for job in jobs if job.evaluate]
    if len(about) > 1 or any(job.train for job in others):
        return None
    if first.train and (first.evaluate or any(test.epoch for test in tests)):
        return None  # what it leaves in the end is tested, and nothing before
    test, *more = merged(tests, over="datasets")
    return replace(first, evaluate=test, more=tuple(more)) if all(_alike(test, other) for other in more) else None


def _alike(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Whether both load the same weights, and compute in the same way."""
    return all(getattr(one, name) == getattr(other, name) for name in ("checkpoint", "epoch", "precision", "fast"))


APART = {"attacks", "mlm", "options"}  # of a specification: what tests that are made at once may differ in


def merged(tests: Iterable[EvaluationSpec], *, over: str = "attacks") -> list[EvaluationSpec]:
    """Tests that differ only in what they are `over` (attacks, or datasets) as one of all, in the order in which they
    come."""
    found: dict[tuple[Any, ...], list[EvaluationSpec]] = {}
    for new in tests:
        same = found.setdefault(_apart(new, over), [])
        number = next((number for number, old in enumerate(same) if _agree(old, new)), None)
        if number is None:
            same.append(new)
        else:
            same[number] = _both(same[number], new, over)
    return [test for same in found.values() for test in same]


def _apart(spec: EvaluationSpec, over: str) -> tuple[Any, ...]:
    names = [field.name for field in fields(spec) if field.name not in {*APART, over}]
    return (*(getattr(spec, name) for name in names), spec.attacks if over != "attacks" else ())


def _both(old: EvaluationSpec, new: EvaluationSpec, over: str) -> EvaluationSpec:
    every = tuple(dict.fromkeys((*getattr(old, over), *getattr(new, over))))
    if over == "datasets":
        return old.on(*every)
    return old.changed(mlm=old.mlm if old.takes_words else new.mlm, **{**new.options, over: every})


def _agree(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Whether the attacks of both, and those that they need, have the same settings."""
    words = not (one.takes_words and other.takes_words) or one.mlm == other.mlm
    return words and all(one.settings(part) == other.settings(part) for part in one.parts if part in other.parts)
