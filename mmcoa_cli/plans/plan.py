"""A reproduction as a list of steps: what to fetch, train and test, what is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from store.errors import UserError

from .. import catalog
from ..jobs.specs import EvaluationSpec, Kind, TrainSpec
from ..models.library import clip_path, ensure_clip, ensure_mlm, mlm_path
from ..settings import Home
from ..terminal.console import say
from . import commands
from .cost import Speed, evaluation_seconds, training_seconds
from .known import Known
from .order import LADDER, PAPER, Order, Scale, remembered
from .selection import Data, Selection, select

OFFLINE = "with no network: --model and --mlm take what is here (mmcoa fetch --list), or tiny-clip and tiny-mlm"


@dataclass(frozen=True)
class Fetch:
    """A dataset or a model brought into the store."""

    name: str
    kind: Kind
    bytes: int = 0


@dataclass(frozen=True)
class Evaluate:
    """One run, or the model as it comes (`run` is None), on one dataset; `missing` are the attacks still to be run."""

    run: TrainSpec | None
    spec: EvaluationSpec
    missing: tuple[str, ...]

    @property
    def dataset(self) -> str:
        return self.spec.datasets[0]


@dataclass(frozen=True)
class Step:
    """One thing to do. `seconds` is None where it is not known: of a download, and before a measurement."""

    work: Fetch | TrainSpec | Evaluate
    title: str
    command: str
    cached: bool
    seconds: float | None

    @property
    def kind(self) -> str:
        return {Fetch: "fetch", TrainSpec: "train", Evaluate: "evaluate"}[type(self.work)]


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are done, and in words what is not as in the paper."""

    order: Order
    scale: Scale
    selection: Selection
    steps: tuple[Step, ...]
    left_out: tuple[str, ...]
    speed: Speed | None

    @property
    def todo(self) -> list[Step]:
        return [step for step in self.steps if not step.cached]

    @property
    def computes(self) -> bool:
        """Whether anything is left to train or test."""
        return any(step.kind != "fetch" for step in self.todo)

    @property
    def seconds(self) -> float | None:
        """Of all that is left but downloads; None before a measurement."""
        times = [step.seconds for step in self.todo if step.kind != "fetch"]
        return None if None in times else float(sum(time for time in times if time))

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        keys = ("kind", "title", "command", "cached", "seconds")
        return {
            "name": self.order.name,
            "preset": self.order.preset,
            "estimated_seconds": None if self.seconds is None else round(self.seconds),
            "steps": [{key: getattr(step, key) for key in keys} for step in self.steps],
            "left_out": list(self.left_out),
        }


def make_plan(order: Order, home: Home, *, fetch_models: bool) -> Plan:
    """The plan, with a measurement where something is left to compute and the models are there.

    `fetch_models` brings them first. Raises UserError where they cannot be had, and where nothing can be trained on.
    """
    selection, known = select(order, home), Known.of(home)
    scale = remembered(order, home) if order.preset == "quick" else PAPER
    if scale and not (plan := compose(order, scale, selection, known=known)).computes:
        return plan
    speed = _speed(order, home, fetch_models=fetch_models)
    scale = scale or largest_in_time(order, selection, home=home, speed=speed)
    return compose(order, scale, selection, known=known, speed=speed)


def largest_in_time(order: Order, selection: Selection, *, home: Home, speed: Speed | None) -> Scale:
    """The first size of the ladder that takes no longer than `order.hours` from the beginning, else the smallest."""
    for scale in LADDER if speed else ():
        seconds = compose(order, scale, selection, known=Known(home), speed=speed).seconds
        if seconds is not None and seconds <= order.hours * 3600:
            return scale
    return LADDER[-1]


def compose(order: Order, scale: Scale, selection: Selection, *, known: Known, speed: Speed | None = None) -> Plan:
    """The steps: datasets and models, then each source's runs with their tests, the model as it comes first."""
    steps = [*_fetches(order, selection, known.home)]
    zero_shot = [name for name in order.row.methods if not catalog.methods()[name].loss]
    if zero_shot:
        tested = selection.tested or selection.sources
        steps += [_test(order, scale, data, run=None, known=known, speed=speed) for data in tested]
    for source in selection.sources:
        for method in (name for name in order.row.methods if name not in zero_shot):
            for shots in scale.shots_of(order.row):
                spec = order.training(method, source.name, shots=shots, scale=scale)
                steps.append(_train(order, spec, source, known=known, speed=speed))
                tested = selection.tested or (source,)
                steps += [_test(order, scale, data, run=spec, known=known, speed=speed) for data in tested]
    left_out = (*selection.left_out, *differences(order, scale, selection))
    return Plan(order, scale, selection, tuple(steps), left_out, speed)


def differences(order: Order, scale: Scale, selection: Selection) -> Iterator[str]:
    """What this is not, beside the paper's: shots, epochs, images, steps, model."""
    row, methods = order.row, catalog.methods()
    shots = scale.shots_of(row)
    if shots != row.shots:
        yield f"training images a class: {', '.join(shots)} (the paper: {', '.join(row.shots)})"
    epochs = {methods[name].epochs for name in row.methods if methods[name].loss}
    if scale.epochs and max(epochs) > scale.epochs:
        yield f"epochs of training: {scale.epochs} (the paper: {max(epochs)})"
    if scale.limit and any(data.test > scale.limit for data in selection.tested or selection.sources):
        yield f"test images: {scale.limit:,} of each dataset, the classes as equal as can be (the paper: all)"
    if scale.steps != PAPER.steps and {"image", "multimodal"} & set(row.attacks):
        yield f"steps of the image attack in the test: {scale.steps} (the paper: {PAPER.steps})"
    lrs = {methods[name].optimizer.lr for name in row.methods if methods[name].loss}
    if order.lr and lrs != {order.lr}:
        yield f"learning rate {order.lr:g} (the paper: {', '.join(f'{lr:g}' for lr in sorted(lrs))})"
    usual = Order(order.name)
    for word, own, papers in (("model", order.model, usual.model), ("masked LM", order.mlm, usual.mlm)):
        if own != papers:
            yield f"{word} {own} instead of {papers}"


def _fetches(order: Order, selection: Selection, home: Home) -> Iterator[Step]:
    here = {
        Fetch(order.model, Kind.clip): clip_path(order.model, home).exists(),
        Fetch(order.mlm, Kind.mlm): mlm_path(order.mlm, home).exists(),
        **{Fetch(data.name, Kind.dataset, data.bytes): data.here for data in selection.datasets},
    }
    for work, is_here in here.items():
        command = f"mmcoa fetch {work.name}"
        yield Step(work, f"fetch {work.name}", command, is_here, 0.0 if is_here else None)


def _train(order: Order, spec: TrainSpec, data: Data, *, known: Known, speed: Speed | None) -> Step:
    cached = known.run(spec) is not None
    seconds = 0.0 if cached else training_seconds(spec, data, speed) if speed else None
    return Step(spec, f"train {label(spec)} on {spec.dataset}", commands.train(spec, order), cached, seconds)


def _test(order: Order, scale: Scale, data: Data, *, run: TrainSpec | None, known: Known, speed: Speed | None) -> Step:
    found = known.run(run) if run else known.zero_shot(order.model)
    checkpoint = (found or run.run_name) if run else order.model
    spec = order.test_of(checkpoint, data.name, scale)
    missing = known.missing(found, spec)
    seconds = evaluation_seconds(spec, data, speed, attacks=missing) if speed else None if missing else 0.0
    title = f"test {label(run)}{f' from {run.dataset}' if run else ''} on {data.name}"
    return Step(Evaluate(run, spec, missing), title, commands.evaluate(spec, order), not missing, seconds)


def label(run: TrainSpec | None) -> str:
    """ "tecoa, 5-shot"; for None the model as it comes."""
    if run is None:
        return "clip, zero-shot"
    return f"{run.method}, {run.shots if run.shots == 'full' else f'{run.shots}-shot'}"


def _speed(order: Order, home: Home, *, fetch_models: bool) -> Speed | None:
    if fetch_models:
        try:
            ensure_clip(order.model, home)
            ensure_mlm(order.mlm, home)
        except UserError as error:
            raise UserError(str(error), hint=f"{error.hint}; {OFFLINE}") from error
    if not (clip_path(order.model, home).exists() and mlm_path(order.mlm, home).exists()):
        return None
    say("measuring what this machine does in ten seconds", style="dim")
    from .speed import measure

    return measure(order, home)
