"""What a plan is made of: things to fetch, runs to train, tests; each with the command that a person would type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..attacks.base import needs_masked_lm
from ..catalog import Kind
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import COMMON, TrainSpec, options_of, train_spec, unused
from ..jobs.worker import Job
from ..terminal.typed import changed, typed

NAMES = ("method", "dataset", "shots")  # what a training is always told
LAST = ("tune", "compat", "precision", "optimizer")
# options of attacks that `mmcoa evaluate` has by their name; for those of `mmcoa train` see COMMON
IN_TEST = ("norm", "eps", "alpha", "steps", "stop_when_fooled", "no_collisions")


@dataclass(frozen=True)
class Start:
    """How the jobs of a plan are started."""

    processes: int = 1
    accelerate_config: Path | None = None


@dataclass(frozen=True)
class Fetch:
    """A dataset or a model brought into the store."""

    name: str
    kind: Kind
    bytes: int = 0


@dataclass(frozen=True)
class Step:
    """One thing to do, or that is done (`cached`). `of` is the run that a job tests, where another step trains it;
    `label` says which run or model it is about, as "tecoa, 5-shot".

    `seconds` is None where it is not known: of a download, and before a measurement.
    """

    work: Fetch | Job
    title: str
    command: str
    of: TrainSpec | None = None
    label: str = ""
    cached: bool = False
    seconds: float | None = None

    @property
    def kind(self) -> str:
        return "fetch" if isinstance(self.work, Fetch) else "train" if self.work.train else "evaluate"

    @property
    def run(self) -> TrainSpec | None:
        """The run that a job trains or tests; None for a model as it comes."""
        return self.of if isinstance(self.work, Fetch) else self.work.train or self.of

    @property
    def tested_on(self) -> tuple[str, ...]:
        test = None if isinstance(self.work, Fetch) else self.work.evaluate
        return test.datasets if test else ()


def fetching(name: str, kind: Kind, *, size: int = 0, here: bool = False) -> Step:
    """The step that brings it into the store."""
    command = typed("fetch", {}, names=[name])
    return Step(Fetch(name, kind, size), f"fetch {name}", command, cached=here, seconds=0.0 if here else None)


def command_of(job: Job, start: Start | None = None) -> str:
    """What to type for a job: of its options those that are not the default, and that something uses."""
    started = changed(asdict(start or Start()), asdict(Start()))
    if job.resume:
        return typed("train", {"resume": job.resume, **started})
    if job.train:
        alone = {} if job.evaluate else {"no_evaluate": True}
        named, own = _training(job.train, tested=job.evaluate)
        return typed("train", {**named, **started, **alone}, own=own)
    assert job.evaluate
    named, own = _test(job.evaluate)
    return typed("evaluate", {**named, **started}, own=own)


def _training(spec: TrainSpec, *, tested: EvaluationSpec | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that have a name of their own on the command line, and those that are -o NAME=VALUE."""
    usual = train_spec(spec.method, dataset=spec.dataset)
    used = {**options_of(spec.row), **(tested.options if tested else {})}
    options = {name: value for name, value in spec.options.items() if name in used}
    ignored = unused(spec.row, tested=bool(tested))
    takes_words = (tested and tested.takes_words) or needs_masked_lm(spec.row.attacks)
    told = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in ("options", *NAMES)}
    told = {name: value for name, value in told.items() if value != getattr(usual, name) and name not in ignored}
    if not takes_words:
        told.pop("mlm", None)
    last = {name: told.pop(name) for name in LAST if name in told}
    named = {name: getattr(spec, name) for name in NAMES if name not in ignored}
    return {**named, **told, **_named(options, COMMON), **last}, _others(options, COMMON)


def _test(spec: EvaluationSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a test."""
    told = spec.to_type()
    own = {name: told.pop(name) for name in list(told) if name not in spec.options}
    words = {name: own.pop(name) for name in ("mlm",) if name in own}
    attacks = {"attack": ",".join(own.pop("attacks"))} if "attacks" in own else {}
    named = {"checkpoint": spec.checkpoint, "dataset": ",".join(spec.datasets), **attacks}
    return {**named, **own, **_named(told, IN_TEST), **words}, _others(told, IN_TEST)


def _named(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _others(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
