"""A reproduction as a list of steps: what to fetch, train and test, what is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import options_of
from ..catalog import Kind
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec
from ..jobs.typed_jobs import command_of
from ..jobs.worker import Job
from ..models.library import clip_path, ensure_clip, ensure_mlm, mlm_path
from ..models.runs import zero_shot_id
from ..settings import Home
from ..terminal.console import say
from .known import Known
from .order import LADDER, PAPER, Order, Scale, remembered
from .selection import Data, Selection, select
from .steps import Step, fetching

if TYPE_CHECKING:
    from .cost import Speed

OFFLINE = "with no network: --model and --mlm take what is here (mmcoa fetch --list), or tiny-clip and tiny-mlm"
Tests = dict[tuple[str, tuple[tuple[str, Any], ...]], list[str]]  # the attacks for each dataset and its options


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
    selection, known = select(order, home), Known(home)
    scale = remembered(order, home) if order.preset == "quick" else PAPER
    if scale and not (plan := compose(order, scale, selection, known=known)).computes:
        return plan
    speed = _speed(order, selection, home, fetch_models=fetch_models)
    scale = scale or largest_in_time(order, selection, speed=speed)
    return compose(order, scale, selection, known=known, speed=speed)


def largest_in_time(order: Order, selection: Selection, *, speed: Speed | None) -> Scale:
    """The first size of the ladder that takes no longer than `order.hours` from the beginning, else the smallest."""
    for scale in LADDER if speed else ():
        seconds = compose(order, scale, selection, known=None, speed=speed).seconds
        if seconds is not None and seconds <= order.hours * 3600:
            return scale
    return LADDER[-1]


def compose(
    order: Order, scale: Scale, selection: Selection, *, known: Known | None, speed: Speed | None = None
) -> Plan:
    """The steps: datasets and models, then the model as it comes, then each source's runs, with their tests. Without
    `known`, as if nothing were there."""
    steps = [*_fetches(order, selection, known)]
    data, first = {data.name: data for data in selection.datasets}, selection.sources[0].name
    for (method, source, shots), tests in _grid(order, scale, selection).items():
        made = source or catalog.methods()[method].wrapper  # else it is the model as it comes
        run = order.training(method, source or first, shots=shots if source else "full", scale=scale) if made else None
        if run:
            steps.append(_train(order, run, data[run.dataset], known=known, speed=speed))
        for (name, options), attacks in tests.items():
            spec = order.test_of(order.model, name, scale, attacks=attacks, options=dict(options))
            steps.append(_test(order, method, spec, data[name], run=run, known=known, speed=speed))
    left_out = (*selection.left_out, *differences(order, scale, selection))
    return Plan(order, scale, selection, tuple(steps), left_out, speed)


def _grid(order: Order, scale: Scale, selection: Selection) -> dict[tuple[str, str, str], Tests]:
    """The tests of each run, (method, source, shots), by source; those of models as they come are first."""
    row, tested = order.row, {} if order.row.on_source else {"dataset": [data.name for data in selection.tested]}
    sources = [data.name for data in selection.sources]
    grid = row.narrowed(source=sources, shots=scale.shots_of(row), attack=order.attacks, **tested)
    found: dict[tuple[str, str, str], Tests] = {}
    for cell in grid.cells({name: options_of([name]) for name in row.attacks}):
        tests = found.setdefault((cell.method, cell.source, cell.shots), {})
        tests.setdefault((cell.dataset, cell.options), []).append(cell.attack)
    return dict(sorted(found.items(), key=lambda run: ["", *sources].index(run[0][1])))


def differences(order: Order, scale: Scale, selection: Selection) -> Iterator[str]:
    """What this is not, beside the paper's: shots, epochs, images, steps, model."""
    row, methods = order.row, catalog.methods()
    shots = scale.shots_of(row)
    if shots != row.shots:
        yield f"training images a class: {', '.join(shots)} (the paper: {', '.join(row.shots)})"
    epochs = {methods[name].epochs for name in row.methods if methods[name].loss}
    if scale.epochs and max(epochs, default=0) > scale.epochs:
        yield f"epochs of training: {scale.epochs} (the paper: {max(epochs)})"
    if scale.limit and any(data.test > scale.limit for data in selection.tested or selection.sources):
        yield f"test images: {scale.limit:,} of each dataset, the classes as equal as can be (the paper: all)"
    if scale.steps != PAPER.steps and "steps" in options_of(row.attacks):
        yield f"steps of the image attack in the test: {scale.steps} (the paper: {PAPER.steps})"
    lrs = {methods[name].optimizer.lr for name in row.methods if methods[name].loss}
    if order.lr and lrs != {order.lr}:
        yield f"learning rate {order.lr:g} (the paper: {', '.join(f'{lr:g}' for lr in sorted(lrs))})"
    usual = Order(order.name)
    for word, own, papers in (("model", order.model, usual.model), ("masked LM", order.mlm, usual.mlm)):
        if own != papers:
            yield f"{word} {own} instead of {papers}"


def _fetches(order: Order, selection: Selection, known: Known | None) -> Iterator[Step]:
    home = known.home if known else None
    yield fetching(order.model, Kind.clip, here=bool(home and clip_path(order.model, home).exists()))
    yield fetching(order.mlm, Kind.mlm, here=bool(home and mlm_path(order.mlm, home).exists()))
    for data in selection.datasets:
        yield fetching(data.name, Kind.dataset, size=data.bytes, here=data.here)


def _train(order: Order, spec: TrainSpec, data: Data, *, known: Known | None, speed: Speed | None) -> Step:
    cached = known is not None and known.run(spec) is not None
    seconds = 0.0 if cached else speed.training(spec, data) if speed else None
    job = Job(spec)
    title = f"train {_label(spec)} on {spec.dataset}"
    return Step(job, title, command_of(job, order.start), spec, _label(spec), cached, seconds)


def _test(
    order: Order, method: str, spec: EvaluationSpec, data: Data, *, run: TrainSpec | None, known: Known | None,
    speed: Speed | None,
) -> Step:  # fmt: skip
    found = (known.run(run) if run else known.zero_shot(order.model, method=method)) if known else None
    if run:
        spec = spec.changed(checkpoint=found.id if found else run.run_name)
    elif catalog.methods()[method].wrapper:
        spec = spec.changed(checkpoint=zero_shot_id(method, order.model))
    missing = known.missing(found, spec) if known else spec.attacks
    seconds = speed.test(spec, data, attacks=missing) if speed else None if missing else 0.0
    job, label = Job(evaluate=spec), _label(run) if run else f"{method}, zero-shot"
    title = f"test {label}{f' from {run.dataset}' if run else ''} on {data.name}"
    return Step(job, title, command_of(job, order.start), run, label, not missing, seconds)


def _label(run: TrainSpec) -> str:
    """ "tecoa, 5-shot"."""
    if not run.row.loss:
        return f"{run.method}, zero-shot"
    return f"{run.method}, {run.shots if run.shots == 'full' else f'{run.shots}-shot'}"


def _speed(order: Order, selection: Selection, home: Home, *, fetch_models: bool) -> Speed | None:
    if fetch_models:
        try:
            ensure_clip(order.model, home)
            ensure_mlm(order.mlm, home)
        except UserError as error:
            raise UserError(str(error), hint=f"{error.hint}; {OFFLINE}") from error
    if not (clip_path(order.model, home).exists() and mlm_path(order.mlm, home).exists()):
        return None
    say("measuring what this machine does: a minute, or less", style="dim")
    from .measuring import measure

    return measure(order, home, side=selection.sources[0].pixel_size)
