"""What typed jobs would take on this machine: time, memory and disk. Nothing of them is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.index import Index

from ..attacks import lookup
from ..attacks.base import needs_masked_lm
from ..catalog import MethodRow
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.job import Job, Start
from ..jobs.known import Known
from ..jobs.launch import command_line
from ..jobs.preflight import resolve
from ..jobs.training_spec import TrainSpec
from ..models.library import clip_path, is_clip, mlm_path
from ..models.runs import NO_RUN
from ..settings import Home, home
from ..space import free_space, size
from ..terminal.console import out, print_json, say
from .direct import steps_of
from .order import Scale, Settings
from .selection import Data, look_up
from .steps import Step
from .takes import Takes, all_of, remember

if TYPE_CHECKING:
    from .cost import Speed


@dataclass(frozen=True)
class Typed:
    """What is measured for a job: as an `Order` is, by a model, methods, attacks and settings."""

    model: str
    mlm: str
    precision: str
    compat: str
    block: int
    start: Start
    methods: tuple[MethodRow, ...]
    attacks: tuple[str, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = False

    def settings(self, scale: Scale) -> Settings:
        """Those that were typed, with so many images and steps in the test."""
        return Settings(self.model, self.training, {**self.test, "limit": scale.limit, "steps": scale.steps})


@dataclass(frozen=True)
class Estimate:
    """A job as a step that takes what is left of it, and the run that it makes; without a `speed` nothing was measured,
    for a reason, or nothing had to be."""

    step: Step
    run: str
    speed: Speed | None = None
    why: str = ""

    @property
    def starts(self) -> str:
        """The command that several processes are started by."""
        job = self.step.work
        trains = isinstance(job, Job) and job.train and not self.step.cached
        return command_line(job, None, self.step.start) if isinstance(job, Job) and trains else ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        about: dict[str, Any] = {name: getattr(self.step, name) for name in ("kind", "title", "command")}
        about |= {"run": self.run or None, **({"starts": self.starts} if self.starts else {})}
        return {**about, "cached": self.step.cached, **self.step.takes.document()}


def show(jobs: Sequence[Job], start: Start, *, as_json: bool) -> None:
    """Print what the jobs would take, which is remembered until they are done. Nothing is fetched, trained or tested.

    Raises UserError, as the jobs would, for datasets, runs and options that cannot be.
    """
    store = home()
    for job in jobs:
        resolve(job, store, fetch=False)
    found = list(_estimates(jobs, start, store))
    free_disk, speed = free_space(store), next((one.speed for one in found if one.speed), None)
    free = speed.memory.free if speed and speed.memory else None
    for one in found:
        if one.step.seconds:
            remember(one.step.command, one.step.takes, store)
    if as_json:
        whole = all_of(one.step.takes for one in found).document()
        sums = {f"estimated_{name}": whole[name] for name in ("seconds", "bytes")}
        document = {**sums, "free_bytes": free_disk, "free_memory": None if free is None else round(free)}
        print_json({**document, "steps": [one.document() for one in found]})
        return
    starts = [f"it would start: {one.starts}" for one in found if one.starts]
    for line in (*_lines(found, free_disk, free, speed.device if speed else ""), *starts):
        out.print(line, soft_wrap=True)


def _estimates(jobs: Sequence[Job], start: Start, store: Home) -> Iterator[Estimate]:
    """Each job's: a measurement serves all jobs that are alike but for the seed."""
    known = Known(store)
    measured: list[tuple[Typed, Speed]] = []
    for step, job in zip(steps_of(jobs, start), jobs, strict=True):
        run, left = known.run_id(job.train) if job.train else "", known.left(job)
        if left is None:
            yield Estimate(replace(step, cached=True, takes=Takes(0.0, 0.0, 0.0)), run)
            continue
        typed = _typed(left, start, store)
        if why := _why_not(typed, store):
            yield Estimate(step, run, why=why)
            continue
        if typed not in [one for one, _ in measured]:
            measured.append((typed, _measured(typed, store, _data(left, store)[0].pixel_size)))
        speed = next(speed for one, speed in measured if one == typed)
        yield Estimate(replace(step, takes=_takes(left, speed, store)), run, speed)


def _typed(job: Job, start: Start, store: Home) -> Typed:
    """What has to be measured for a job. A run takes as long as the model that it was made of."""
    train, test = job.train, job.evaluate
    spec: TrainSpec | EvaluationSpec = train or test  # type: ignore[assignment]
    flat = {f.name: getattr(train, f.name) for f in fields(TrainSpec) if f.name not in OWN} if train else {}
    tests = {f.name: getattr(test, f.name) for f in fields(EvaluationSpec) if f.name not in NOT_OF_TEST} if test else {}
    return Typed(
        model=train.model if train else _base(test.checkpoint if test else "", store),
        mlm=spec.mlm, precision=spec.precision, compat=spec.compat, block=spec.batch_size, start=start,
        methods=(train.row,) if train else (), attacks=test.attacks if test else (),
        training={**flat, **(train.options if train else {})}, test={**tests, **(test.options if test else {})},
    )  # fmt: skip


OWN = ("method", "dataset", "shots", "model", "seed", "epochs", "options")
NOT_OF_TEST = (
    "checkpoint", "datasets", "attacks", "task", "limit", "pixel_size", "epoch", "seed", "options",
)  # fmt: skip


def _base(checkpoint: str, store: Home) -> str:
    """The model that a run was made of, or that is tested as it comes."""
    name = checkpoint
    while name and not is_clip(name, store):
        name = Index(store.database_url).find_run(name, otherwise=NO_RUN).model
    return name


def _data(job: Job, store: Home) -> list[Data]:
    names = [*([job.train.dataset] if job.train else []), *(job.evaluate.datasets if job.evaluate else [])]
    return [data for name in names if (data := look_up(name, store))]


def _why_not(typed: Typed, store: Home) -> str:
    """Why nothing can be measured: a model is not here, or an attack is on captions, which noise has none of."""
    words = needs_masked_lm([*typed.attacks, *(name for row in typed.methods for name in row.attacks)])
    needed = {typed.model: clip_path(typed.model, store), **({typed.mlm: mlm_path(typed.mlm, store)} if words else {})}
    absent = [name for name, path in needed.items() if not path.exists()]
    if absent:
        return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not here (mmcoa fetch {' '.join(absent)})"
    if any(lookup(one).on == "captions" for one in typed.attacks):
        return "attacks on captions are not measured"
    return _too_large(typed, clip_path(typed.model, store))


def _too_large(typed: Typed, model: Path) -> str:
    """Whether the model does not fit into what is free, twice for a test, and for training with its gradients and the
    optimizer's moments."""
    import torch

    from ..models.memory import free_memory

    needed = (5 if typed.methods else 2) * sum(file.stat().st_size for file in model.rglob("*.safetensors"))
    free = free_memory(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return f"measuring {typed.model} takes {size(needed)} of memory, and {size(free)} are free" if needed > free else ""


def _measured(typed: Typed, store: Home, side: int) -> Speed:
    say("measuring what this machine does: a minute or so, and longer for a large model", style="dim")
    from .measuring import measure

    return measure(typed, store, side=side)


def _takes(job: Job, speed: Speed, store: Home) -> Takes:
    train, test, parts = job.train, job.evaluate, list[Takes]()
    if train and (data := look_up(train.dataset, store)):
        parts.append(speed.of_training(train, data, keep=job.keep, most=job.conduct.micro_batch))
    for spec in map(test.on, test.datasets) if test else ():
        if data := look_up(spec.datasets[0], store):
            parts.append(speed.of_test(spec, data, attacks=spec.attacks))
    return all_of(parts)


def _lines(found: Sequence[Estimate], free_disk: int, free: float | None, device: str) -> Iterator[str]:
    for one in found:
        step = one.step
        about = "not measured" if step.seconds is None else f"about {step.takes.words()}"
        about = "is in the store already" if step.cached else about
        yield f"{step.title}{f' (run {one.run})' if one.run else ''}: {about}"
    todo = [one.step for one in found if not one.step.cached]
    yield from dict.fromkeys(f"no time: {one.why}" for one in found if one.why)
    if not todo or any(step.seconds is None for step in todo):
        return
    if len(todo) > 1:
        yield f"all: about {all_of(step.takes for step in todo).words()}"
    there = f"{size(free_disk)} on disk" + (f", {size(free)} of memory" if free else "")
    yield f"free here: {there}; estimated from a short measurement on this {device}"
