"""A reproduction as a list of steps: what to fetch, train and test, what is there, and how long the rest takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import options_of
from ..catalog import Kind, MethodRow, TableRow
from ..catalog.tables import TIME
from ..jobs.known import Known
from ..models.library import clip_path, ensure_clip, ensure_mlm, mlm_path
from ..settings import Home
from ..terminal.console import say
from .cells import cells_of
from .compose import Composer
from .explaining import Explaining
from .merging import together
from .request import LADDER, PAPER, Request, Scale, remembered
from .resources import total, total_at_once
from .selection import Data, Selection, missing, select
from .steps import Step, fetching, fetching_models

if TYPE_CHECKING:
    from .speed import Speed

NOTHING = Known(Home(Path(os.devnull), f"sqlite:///{os.devnull}/index.db"))  # of a store in which nothing is yet
OFFLINE = "with no network: --model and --mlm take what is here (mmcoa fetch --list), or tiny-clip and tiny-mlm"


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are done, and in words what is not as in the paper."""

    order: Request
    scale: Scale
    steps: tuple[Step, ...]
    left_out: tuple[str, ...]
    speed: Speed | None
    tables: tuple[TableRow, ...] = ()  # of the order, with what of each takes part
    data: Mapping[str, Data] = field(default_factory=dict)

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
        groups = together(step for step in self.todo if step.kind != "fetch")
        every = [total(step.resources for step in group) for group in groups]
        return total_at_once(every, self.order.jobs).seconds

    @property
    def bytes(self) -> float:
        """What all that is left leaves on disk, as far as that is known."""
        return sum(step.bytes for step in self.todo)

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        keys = ("kind", "title", "command", "cached", "seconds", "bytes")
        return {
            "name": ",".join(table.name for table in self.order.tables),
            "preset": self.order.preset,
            "estimated_seconds": None if self.seconds is None else round(self.seconds),
            "estimated_bytes": round(self.bytes),
            "steps": [{key: getattr(step, key) for key in keys} for step in self.steps],
            "left_out": list(self.left_out),
        }


def make_plan(order: Request, home: Home, *, fetch_models: bool, measured: bool = True) -> Plan:
    """The plan, with a measurement (unless it is not to be `measured`) where something is left to compute and the
    models are there.

    `fetch_models` brings them first. Raises UserError where they cannot be had, and where nothing can be trained on.
    """
    chosen, known = [select(table, order, home) for table in order.tables], Known(home)
    scale = remembered(order, home) if order.preset == "quick" else PAPER
    if scale and not (plan := compose(order, scale, chosen, known=known)).computes:
        return plan
    speed = _speed(order, chosen, home, fetch_models=fetch_models) if measured else None
    scale = scale or largest_in_time(order, chosen, speed=speed)
    return compose(order, scale, chosen, known=known, speed=speed)


def largest_in_time(order: Request, chosen: Sequence[Selection], *, speed: Speed | None) -> Scale:
    """The first size of the ladder that takes no longer than `order.hours` from the beginning, else the smallest."""
    for scale in LADDER if speed else ():
        seconds = compose(order, scale, chosen, known=NOTHING, speed=speed).seconds
        if seconds is not None and seconds <= order.hours * 3600:
            return scale
    return LADDER[-1]


def compose(
    order: Request, scale: Scale, chosen: Sequence[Selection], *, known: Known, speed: Speed | None = None
) -> Plan:
    """The steps: datasets and models, then all runs and tests."""
    data = {data.name: data for selection in chosen for data in selection.datasets}
    composer = Composer(order.settings(scale), known, data, speed, order.start)
    tables = tuple(selection.narrowed(scale, order.attacks) for selection in chosen)
    steps = composer.steps(tables)
    if order.explain:
        cells = [cell for table in tables if table.cell != TIME for cell in cells_of(table)]
        steps += Explaining(composer.settings, data).steps(composer, cells)
    left_out = [line for selection in chosen for line in selection.left_out]
    left_out = [*missing(chosen), *dict.fromkeys(left_out), *differences(order, scale, chosen)]
    every = (*_fetches(order, data.values(), known.home), *steps)
    return Plan(order, scale, every, tuple(left_out), speed, tables, data)


def differences(order: Request, scale: Scale, chosen: Sequence[Selection]) -> Iterator[str]:
    """What this is not, beside the paper's: shots, epochs, images, steps, model."""
    methods = order.methods
    for shots, papers in dict.fromkeys((scale.shots_of(table), table.shots) for table in order.tables):
        if shots != papers:
            yield f"training images a class: {', '.join(shots)} (the paper: {', '.join(papers)})"
    if scale.epochs and any(row.epochs > scale.epochs for row in methods):
        prompts = [f"{row.name}: {row.epochs}" for row in methods if row.epochs != MethodRow.epochs]
        told = "; ".join([f"the paper: {catalog.paper_settings().epochs}", *prompts])
        yield f"epochs of training: {scale.epochs} ({told})"
    tested = [data for selection in chosen for data in selection.tested or selection.sources]
    if scale.limit and any(data.test > scale.limit for data in tested):
        yield f"test images: {scale.limit:,} of each dataset, the classes as equal as can be (the paper: all)"
    scaled = [table for table in order.tables if "steps" in options_of(table.attacks) and not table.axis("steps")]
    if scale.steps != PAPER.steps and scaled:
        yield f"steps of the image attack in the test: {scale.steps} (the paper: {PAPER.steps})"
    lrs = {row.optimizer.lr for row in methods if row.fine_tunes}
    if order.lr and lrs and lrs != {order.lr}:
        yield f"learning rate {order.lr:g} (the paper: {', '.join(f'{lr:g}' for lr in sorted(lrs))})"
    usual = Request(order.names)
    for word, own, other in (("model", order.model, usual.model), ("masked LM", order.mlm, usual.mlm)):
        if own != other:
            yield f"{word} {own} instead of {other}"


def _fetches(order: Request, datasets: Iterable[Data], home: Home) -> Iterator[Step]:
    yield from fetching_models([order.model], [order.mlm], home)
    for data in datasets:
        yield fetching(data.name, Kind.dataset, size=data.bytes, here=data.here)


def _speed(order: Request, chosen: Sequence[Selection], home: Home, *, fetch_models: bool) -> Speed | None:
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

    return measure(order.work, home, side=chosen[0].sources[0].pixel_size)
