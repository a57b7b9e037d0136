"""A job: what is trained and tested, how that is watched and started, what comes of it, and what is typed for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..terminal.checks import not_negative, positive, within
from ..terminal.typed import changed, typed
from .evaluation_spec import EvaluationSpec, evaluation_after
from .training_spec import TrainSpec


@dataclass(frozen=True)
class Conduct:
    """`micro_batch` images are in memory at once (None: the batch); `track` is the tracker that follows, empty for
    none; after every `evaluate_every` epochs the model is tested as it is by then. `workers` read images ahead in each
    process (None: as many as suit). With `recompute` a tower keeps what lies between its blocks, and computes the rest
    again when gradients need it; else where memory would not suffice. With `divided` each process has a
    part of the weights (`fsdp.py`)."""

    micro_batch: int | None = None
    track: str = ""
    evaluate_every: int | None = None
    workers: int | None = None
    recompute: bool = False
    divided: bool = False

    def __post_init__(self) -> None:
        for option in ("micro_batch", "evaluate_every"):
            if (value := getattr(self, option)) is not None:
                positive(f"--{option.replace('_', '-')}", value)
        if self.workers is not None:
            not_negative("--workers", self.workers)
            within("--workers", self.workers)


@dataclass(frozen=True)
class Job:
    """Train, then evaluate; either may be left out. After a training run the evaluation's checkpoint is that run.
    `more` are tests of the same checkpoint with other options.

    `resume` is the run that the training goes on with, `keep` how many of the last epochs stay (None: all). Where one
    does, the optimizer's state goes with the others when the run is complete."""

    train: TrainSpec | None = None
    evaluate: EvaluationSpec | None = None
    resume: str = ""
    keep: int | None = 1
    conduct: Conduct = field(default_factory=Conduct)
    more: tuple[EvaluationSpec, ...] = ()

    @property
    def tests(self) -> tuple[EvaluationSpec, ...]:
        """All of them."""
        return (self.evaluate, *self.more) if self.evaluate else ()


@dataclass(frozen=True)
class Start:
    """How a job is started: in how many processes, and by which configuration of Accelerate, if any."""

    processes: int = 1
    accelerate_config: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """The run (empty where nothing was trained), the ids of the evaluations in the index, and the bytes of memory that
    this took at most (0 where all of it was there, or nobody counts them)."""

    run: str = ""
    evaluations: list[str] = field(default_factory=list)
    memory: int = 0


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
