"""What a plan is made of: things to fetch, runs to train, tests; each with the command that a person would type."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..attacks.base import needs_masked_lm
from ..jobs.specs import EvaluationSpec, Kind, TrainSpec, train_spec
from ..jobs.training_spec import options_of
from ..jobs.worker import Job
from ..terminal.typed import changed, typed


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
        named, rare = _training(job.train, tested=job.evaluate)
        return typed("train", {**named, **started, **alone}, rare=rare)
    assert job.evaluate
    named, rare = _test(job.evaluate)
    return typed("evaluate", {**named, **started}, rare=rare)


def _training(spec: TrainSpec, *, tested: EvaluationSpec | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of every method, and those that only some have."""
    usual = train_spec(spec.method, dataset=spec.dataset)
    named = {name: getattr(spec, name) for name in ("method", "dataset", "shots")}
    own = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in (*named, "mlm", "options")}
    told = {name: value for name, value in own.items() if value != getattr(usual, name)}
    takes_words = (tested and tested.takes_words) or needs_masked_lm(spec.row.attacks)
    words = {"mlm": spec.mlm} if takes_words and spec.mlm != usual.mlm else {}
    used = set(spec.options) if tested else set(options_of(spec.row))
    return {**named, **words, **told}, {name: value for name, value in spec.options.items() if name in used}


def _test(spec: EvaluationSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    told = spec.to_type()
    own = {name: told.pop(name) for name in list(told) if name not in spec.options}
    attacks = own.pop("attacks", ())
    named = {"checkpoint": spec.checkpoint, "dataset": ",".join(spec.datasets)}
    return {**named, **({"attack": ",".join(attacks)} if attacks else {}), **own}, told
