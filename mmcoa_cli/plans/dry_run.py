"""What typed jobs would take on this machine: time, memory and disk. Nothing of them is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.index import Index

from ..attacks import lookup
from ..attacks.base import needs_masked_lm
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
from . import disk
from .cells import Settings
from .request import Work
from .resources import Resources, measured_on, remember, total, total_at_once
from .selection import look_up
from .steps import Step
from .typed_jobs import steps_of

if TYPE_CHECKING:
    from .speed import Speed


# How many times its weights measuring a model takes. The bench has it, and a job once more, which reads it from a file
# that is held meanwhile; training has its gradients and two moments, too. The rest is what is computed: of ViT-L-14 it
# was 3.0 and 5.3 times, of ViT-B-16-SigLIP 3.2 and 5.6 times.
OF_TEST, OF_TRAINING = 3.2, 5.7


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
        return {**about, "cached": self.step.cached, **self.step.resources.document()}


def show(jobs: Sequence[Job], start: Start, *, at_once: int = 1, as_json: bool) -> None:
    """Print what the jobs would take, `at_once` so many, which is remembered until they are done. Nothing is fetched,
    trained or tested.

    Raises UserError, as the jobs would, for datasets, runs and options that cannot be.
    """
    store = home()
    for job in jobs:
        resolve(job, store, fetch=False)
    found = list(_estimates(jobs, start, store))
    free_disk, speed = free_space(store), next((one.speed for one in found if one.speed), None)
    whole = total_at_once((one.step.resources for one in found if not one.step.cached), at_once)
    for one in found:
        if one.step.seconds:
            remember(one.step.command, one.step.resources, store)
    if as_json:
        sums = {f"estimated_{name}": count for name, count in whole.document().items() if name != "memory"}
        document = {**sums, "free_bytes": free_disk, "free_memory": round(speed.free) if speed else None}
        print_json({**document, "steps": [one.document() for one in found]})
        return
    starts = [f"it would start: {one.starts}" for one in found if one.starts]
    for line in (*_lines(found, whole, _where(free_disk, speed, at_once)), *starts):
        out.print(line, soft_wrap=True)


def _estimates(jobs: Sequence[Job], start: Start, store: Home) -> Iterator[Estimate]:
    """Each job's: a measurement serves all jobs that are alike but for the seed."""
    known = Known(store)
    measured: list[tuple[Work, Speed]] = []
    for step, job in zip(steps_of(jobs, start), jobs, strict=True):
        run, left = known.run_id(job.train) if job.train else "", known.left(job)
        if left is None:
            yield Estimate(replace(step, cached=True, resources=Resources(0.0, 0.0, 0.0)), run)
            continue
        work = _work(left, start, store)
        if why := _why_not(work, store):
            yield Estimate(step, run, why=why)
            continue
        speed = next((speed for one, speed in measured if one == work), None)
        if speed is None:
            speed = _measured(work, left, store)
            measured.append((work, speed))
        yield Estimate(replace(step, resources=_resources(left, speed, store)), run, speed)


OF_ONE_RUN = ("method", "dataset", "shots", "model", "seed", "epochs", "options")
OF_ONE_TEST = (
    "checkpoint", "datasets", "attacks", "task", "limit", "pixel_size", "epoch", "seed", "options",
)  # fmt: skip


def _work(job: Job, start: Start, store: Home) -> Work:
    """What has to be measured for a job. A run takes as long as the model that it was made of."""
    train, test = job.train, job.evaluate
    training = _options(train, without=OF_ONE_RUN) if train else {}
    tested = (
        _options(test, without=OF_ONE_TEST) if test else {n: training[n] for n in ("mlm", "precision", "batch_size")}
    )
    model = train.model if train else _base(test.checkpoint, store) if test else ""
    methods, attacks = (train.row,) if train else (), test.attacks if test else ()
    return Work(Settings(model, training, tested), methods, attacks, start)


def _options(spec: TrainSpec | EvaluationSpec, *, without: Sequence[str]) -> dict[str, Any]:
    return {**{f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in without}, **spec.options}


def _base(checkpoint: str, store: Home) -> str:
    """The model that a run was made of, or that is tested as it comes."""
    name = checkpoint
    while name and not is_clip(name, store):
        name = Index(store.database_url).find_run(name, otherwise=NO_RUN).model
    return name


def _why_not(work: Work, store: Home) -> str:
    """Why nothing can be measured: a model is not here, or an attack is on captions, which noise has none of."""
    words = needs_masked_lm([*work.attacks, *(name for row in work.methods for name in row.attacks)])
    clip = clip_path(work.model, store)
    needed = {work.model: clip, **({work.mlm: mlm_path(work.mlm, store)} if words else {})}
    absent = [name for name, path in needed.items() if not path.exists()]
    if absent:
        return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not here (mmcoa fetch {' '.join(absent)})"
    if any(lookup(one).on == "captions" for one in work.attacks):
        return "attacks on captions are not measured"
    return _too_large(work, clip)


def _too_large(work: Work, model: Path) -> str:
    """Whether the model does not fit into what is free, as often as measuring has it there."""
    import torch

    from ..models.memory import free_memory

    weights = sum(file.stat().st_size for file in model.rglob("*.safetensors"))
    needed = (OF_TRAINING if work.methods else OF_TEST) * weights
    free = free_memory(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if needed <= free:
        return ""
    return f"measuring {work.model} takes {size(needed)} of memory, and {size(free)} are free"


def _measured(work: Work, job: Job, store: Home) -> Speed:
    say("measuring what this machine does: a minute or so, and longer for a large model", style="dim")
    from .measuring import measure

    first = job.train.dataset if job.train else job.evaluate.datasets[0] if job.evaluate else ""
    data = look_up(first, store)
    return measure(work, store, side=data.pixel_size if data else 224)


def _resources(job: Job, speed: Speed, store: Home) -> Resources:
    train, test, parts = job.train, job.evaluate, list[Resources]()
    if train and (data := look_up(train.dataset, store)):
        parts.append(speed.of_training(train, data, most=job.conduct.micro_batch))
    for name in test.datasets if test else ():
        if test and (data := look_up(name, store)):
            parts.append(speed.of_test(test, data, attacks=test.attacks))
    return replace(total(parts), bytes=sum(disk.of_job(job, store).values()))


def _where(free_disk: int, speed: Speed | None, at_once: int) -> str:
    """What there is, and how it was estimated."""
    if speed is None:
        return ""
    there = f"free here: {size(free_disk)} on disk, {size(speed.free)} of memory"
    return f"{there}; {measured_on(speed.device, at_once)}"


def _lines(found: Sequence[Estimate], whole: Resources, where: str) -> Iterator[str]:
    for one in found:
        step = one.step
        about = "not measured" if step.seconds is None else f"about {step.resources.words()}"
        about = "is in the store already" if step.cached else about
        yield f"{step.title}{f' (run {one.run})' if one.run else ''}: {about}"
    todo = [one.step for one in found if not one.step.cached]
    yield from dict.fromkeys(f"no time: {one.why}" for one in found if one.why)
    if not todo or any(step.seconds is None for step in todo):
        return
    if len(todo) > 1:
        yield f"all: about {whole.words()}"
    yield where
