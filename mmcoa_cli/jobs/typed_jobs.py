"""Jobs as a person types them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..terminal.typed import changed, typed
from .conduct import Conduct
from .evaluation_spec import EvaluationSpec, evaluation_after
from .training_spec import TrainSpec
from .worker import Job, Start


def command_of(job: Job, start: Start | None = None) -> str:
    """What to type for a job: of its options those that are not the default, and that something uses."""
    started = changed(asdict(start or Start()), asdict(Start()))
    started |= {"keep": job.keep or "all"} if job.keep != Job.keep else {}
    started |= changed(asdict(job.conduct), asdict(Conduct()))
    train, test = job.train, job.evaluate
    if job.resume:
        return typed("train", {"resume": job.resume, **started})
    if train:
        last = size_of_test(test) if test else {"no_evaluate": True}
        return typed("train", {**train.to_type(test), **started, **last}, settings=train.options)
    if test is None:
        raise ValueError("a job that does nothing is no command")
    return typed("evaluate", {**test.to_type(), **started}, settings=test.options)


def size_of_test(test: EvaluationSpec) -> dict[str, Any]:
    """How large the test after a training is, where it is not the usual one."""
    steps = {"test_steps": test.options["steps"]} if test.options.get("steps") else {}
    return {**({"test_limit": test.limit} if test.limit else {}), **steps}


def command_of_training(spec: TrainSpec, *, limit: int | None = None, steps: int | None = None) -> str:
    """What to type for a run with the test that it ends with: the usual one, or of fewer images and steps."""
    return command_of(Job(spec, evaluation_after(spec, limit=limit, steps=steps)))
