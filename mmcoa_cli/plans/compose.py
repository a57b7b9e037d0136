"""From the grids of tables to steps: what is trained and tested, what of it is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import catalog
from ..catalog import Cell, TableRow
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.job import Job, Start
from ..jobs.training_spec import TrainSpec, in_words
from ..models.interpolation import steps_over
from ..models.runs import zero_shot_id
from . import disk
from .cells import Settings, cells_of, in_run, tests_of
from .resources import UNKNOWN, Resources
from .selection import Data
from .steps import Between, Step

if TYPE_CHECKING:
    from store.schema import Run

    from ..jobs.known import Known
    from .speed import Speed


@dataclass(frozen=True)
class Composer:
    """Makes the steps of tables; without a `speed` they take unknown times, for which `data` are needed."""

    settings: Settings
    known: Known
    data: Mapping[str, Data] = field(default_factory=dict)
    speed: Speed | None = None
    start: Start = field(default_factory=Start)
    note: str = ""  # behind every label

    def steps(self, tables: Iterable[TableRow]) -> list[Step]:
        """Those of all cells of these tables."""
        return self.of_cells(cell for table in tables for cell in cells_of(table))

    def of_cells(self, every: Iterable[Cell]) -> list[Step]:
        """The tests of models as they come, then each run with its tests; what several cells need is there once."""
        cells = dict.fromkeys(every)
        specs = {run: self.settings.run(run) for run in dict.fromkeys(cell.of_run for cell in cells) if run.source}
        runs: dict[TrainSpec | str, list[Cell]] = {}
        for cell in cells:
            runs.setdefault(specs.get(cell.of_run, cell.method), []).append(cell)
        sources = ["", *(run.source for run in specs)]
        return [
            step
            for run, own in sorted(runs.items(), key=lambda of_run: sources.index(of_run[1][0].source))
            for step in (self._of_run(run, own) if isinstance(run, TrainSpec) else self._of_model(run, own))
        ]

    def _of_run(self, run: TrainSpec, cells: Sequence[Cell]) -> Iterator[Step]:
        found, label = self.known.run(run), _label(cells[0]) + self.note
        there = [own for cell in cells if (own := in_run(cell, run.epochs))]
        checkpoint = found.id if found else self.known.run_id(run) or run.run_name
        specs = tests_of(self.settings, checkpoint, [cell for cell in there if cell.w is None])
        tests = [self._test(spec, f"{label} from {run.dataset}", label, of=run, found=found) for spec in specs]
        keep = None if any(spec.epoch for spec in specs) else Job.keep  # all, where those before the last are tested
        early = any(spec.epoch and not step.cached for spec, step in zip(specs, tests, strict=True))
        done = found is not None and (self.known.keeps_all(found) or not early)
        resources = self._resources(done)
        if self.speed and not done:
            data = self.data[run.dataset]
            left = disk.of_checkpoints(run, self.known.home, keep=keep) + disk.of_images_before(run, data)
            resources = replace(self.speed.of_training(run, data), bytes=left)
        work, title = Job(run, keep=keep), f"train {label} on {run.dataset}"
        yield Step(work, title, run, None, label, done, resources, self.start)
        yield from self._between(run, found, checkpoint, there, label)
        yield from tests

    def _between(
        self, run: TrainSpec, found: Run | None, checkpoint: str, cells: Sequence[Cell], label: str
    ) -> Iterator[Step]:
        """The models on the way to a run, and their tests."""
        weights = sorted({cell.w for cell in cells if cell.w is not None})
        if not weights:
            return
        there = {w: self.known.between(found, w) if found else None for w in weights}
        whole, steps = all(there.values()), steps_over(weights)
        resources = self._resources(whole)
        if self.speed and not whole:
            resources = Resources(self.speed.between(steps), bytes=steps * disk.of_weights(run, self.known.home))
        title = f"interpolate between {run.model} and {label} from {run.dataset}"
        work = Between(run.model, checkpoint, steps)
        yield Step(work, title, run, None, label, whole, resources, self.start)
        for w, model in there.items():
            name = model.id if model else f"interpolated-{checkpoint}-w{w:.4g}"
            for spec in tests_of(self.settings, name, [cell for cell in cells if cell.w == w]):
                yield self._test(spec, f"{label} from {run.dataset} at w {w:.4g}", label, of=run, found=model, w=w)

    def _of_model(self, method: str, cells: Sequence[Cell]) -> Iterator[Step]:
        model, label = self.settings.model, f"{method}, zero-shot{self.note}"
        found = self.known.zero_shot(model, method=method)
        checkpoint = zero_shot_id(method, model) if catalog.methods()[method].wrapper else model
        for spec in tests_of(self.settings, checkpoint, cells):
            yield self._test(spec, label, label, of=None, found=found)

    def _test(
        self, spec: EvaluationSpec, what: str, label: str, *, of: TrainSpec | None, found: Run | None,
        w: float | None = None,
    ) -> Step:  # fmt: skip
        missing, data = self.known.missing(found, spec), self.data.get(spec.datasets[0])
        resources = self._resources(not missing)
        if self.speed and data and missing:
            resources = replace(
                self.speed.of_test(spec, data, attacks=missing), bytes=disk.of_test(spec, data, attacks=missing)
            )
        own = [f"{name} {value}" for name, value in spec.options.items() if name not in self.settings.test]
        after = [f"after epoch {spec.epoch}"] if spec.epoch else []
        task = [] if spec.task == EvaluationSpec.task else [f"task {spec.task}"]
        title = ", ".join([" ".join([f"test {what}", *after, f"on {spec.datasets[0]}"]), *task, *own])
        return Step(Job(evaluate=spec), title, of, w, label, not missing, resources, self.start)

    def _resources(self, done: bool) -> Resources:
        """Before anything is measured."""
        return Resources(0.0) if done else UNKNOWN


def _label(cell: Cell) -> str:
    """ "tecoa, 5-shot, tune image"."""
    return ", ".join(
        [cell.method, in_words(cell.shots), *(f"{name.replace('_', ' ')} {value}" for name, value in cell.training)]
    )
