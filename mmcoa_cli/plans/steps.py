"""What a plan is made of: things to fetch, runs to train, tests; each with the command that a person would type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .. import catalog
from ..catalog import Kind
from ..jobs.job import Job, Start, command_of
from ..jobs.training_spec import TrainSpec
from ..models.interpolation import Way
from ..models.library import clip_path, mlm_path
from ..settings import Home
from ..terminal.typed import typed
from .resources import UNKNOWN, Resources


@dataclass(frozen=True)
class Fetch:
    """A dataset or a model brought into the store."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Between:
    """The models on the way from `start` to the run `goal`, both ends among them."""

    start: str
    goal: str
    steps: int

    @property
    def command(self) -> str:
        """What a person would type."""
        return typed(
            "interpolate", {"steps": self.steps} if self.steps != Way.steps else {}, names=[self.start, self.goal]
        )


@dataclass(frozen=True)
class Step:
    """One thing to do, or that is done (`cached`). `of` is the run that a job tests, where another step trains it;
    `label` says which run or model it is about, as "tecoa, 5-shot"; `w` where the tested model lies, if it is one of a
    step `Between`.

    `resources` are what it is planned to take: no time is known of a download, and before a measurement.
    """

    work: Fetch | Job | Between
    title: str
    of: TrainSpec | None = None
    w: float | None = None
    label: str = ""
    cached: bool = False
    resources: Resources = UNKNOWN
    start: Start = field(default_factory=Start)

    @property
    def command(self) -> str:
        """What a person would type."""
        if isinstance(self.work, Fetch):
            return typed("fetch", {}, names=[self.work.name])
        return self.work.command if isinstance(self.work, Between) else command_of(self.work, self.start)

    @property
    def seconds(self) -> float | None:
        return self.resources.seconds

    @property
    def bytes(self) -> float:
        """What it leaves on disk, as far as that is known."""
        return self.resources.bytes or 0

    @property
    def kind(self) -> str:
        if isinstance(self.work, Job):
            return "train" if self.work.train else "evaluate"
        return "fetch" if isinstance(self.work, Fetch) else "interpolate"

    @property
    def run(self) -> TrainSpec | None:
        """The run that a job trains or tests; None for a model as it comes."""
        return self.work.train or self.of if isinstance(self.work, Job) else self.of

    @property
    def tested_on(self) -> tuple[str, ...]:
        test = self.work.evaluate if isinstance(self.work, Job) else None
        return test.datasets if test else ()


def fetching(name: str, kind: Kind, *, size: int = 0, here: bool = False) -> Step:
    """The step that brings it into the store; a stand-in is trained there."""
    resources = Resources(0.0) if here else Resources(bytes=size or None)
    row = {Kind.clip: catalog.models().get(name), Kind.mlm: catalog.mlms().get(name)}.get(kind)
    title = f"train the stand-in {name}" if row and row.embedded else f"fetch {name}"
    return Step(Fetch(name, kind), title, cached=here, resources=resources)


def fetching_models(models: Iterable[str], mlms: Iterable[str], home: Home) -> Iterator[Step]:
    """The same of models and masked LMs, each once."""
    for name in dict.fromkeys(models):
        yield fetching(name, Kind.clip, here=clip_path(name, home).exists())
    for name in dict.fromkeys(mlms):
        yield fetching(name, Kind.mlm, here=mlm_path(name, home).exists())
