"""What a plan is made of: things to fetch, runs to train, tests; each with the command that a person would type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..jobs.specs import EvaluationSpec, Kind, TrainSpec, train_spec
from ..jobs.used import unused_in_test, unused_in_training
from ..jobs.worker import Job, Outcome
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
    """One thing to do. `found` is what the store has of it already, None where something is left to do.

    `of` is the run that a job tests, where an earlier step trains it; `seconds` is None where nobody knows: of a
    download, and before a measurement.
    """

    work: Fetch | Job
    title: str
    command: str
    of: TrainSpec | None = None
    found: Outcome | None = None
    seconds: float | None = None

    @property
    def kind(self) -> str:
        return "fetch" if isinstance(self.work, Fetch) else "train" if self.work.train else "evaluate"

    @property
    def cached(self) -> bool:
        return self.found is not None

    @property
    def dataset(self) -> str:
        """What a job is about."""
        spec = self.work.evaluate if isinstance(self.work, Job) else None
        return spec.datasets[0] if spec else ""


def todo(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if not step.cached]


def label(run: TrainSpec | None) -> str:
    """ "tecoa, 5-shot"; for None the model as it comes."""
    if run is None:
        return "clip, zero-shot"
    return f"{run.method}, {run.shots if run.shots == 'full' else f'{run.shots}-shot'}"


def command_of(job: Job, start: Start | None = None) -> str:
    """The options of a job that are not the defaults, as they are typed."""
    start = start or Start()
    started = changed(asdict(start), asdict(Start()))
    if job.resume:
        return typed("train", {"resume": job.resume, **started})
    if job.train:
        alone = {} if job.evaluate else {"no_evaluate": True}
        return typed("train", {**_training(job.train, tested=bool(job.evaluate)), **started, **alone})
    assert job.evaluate
    return typed("evaluate", {**_test(job.evaluate), **started})


def _training(spec: TrainSpec, *, tested: bool) -> dict[str, object]:
    options = asdict(spec)
    named = {name: options.pop(name) for name in ("method", "dataset", "shots")}
    unused = unused_in_training(spec.method, tested=tested)
    used = {name: value for name, value in options.items() if name not in unused}
    return {**named, **changed(used, asdict(train_spec(spec.method, dataset=spec.dataset)))}


def _test(spec: EvaluationSpec) -> dict[str, object]:
    options = asdict(spec)
    named = {"checkpoint": options.pop("checkpoint"), "dataset": ",".join(options.pop("datasets"))}
    if options.pop("attacks") != EvaluationSpec.attacks:
        named["attack"] = ",".join(spec.attacks)
    unused = unused_in_test(spec.attacks)
    usual = asdict(EvaluationSpec("", (), norm=spec.norm, eps=spec.eps, steps=spec.steps))  # with their own alpha
    plain = asdict(EvaluationSpec("", ())) | {"alpha": usual["alpha"]}
    return {**named, **changed({name: value for name, value in options.items() if name not in unused}, plain)}
