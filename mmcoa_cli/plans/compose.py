"""From the grids of tables to steps: what is trained and tested, what of it is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from .. import catalog
from ..attacks.base import options_of
from ..catalog import Cell, TableRow
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec
from ..jobs.worker import Job, Start
from ..models.runs import zero_shot_id
from .merging import merged
from .selection import Data
from .settings import Settings
from .steps import Step

if TYPE_CHECKING:
    from store.schema import Run

    from .cost import Speed


class Knows(Protocol):
    """Whoever can tell what is there already: the store (`jobs.known`), or the rows of a report (`lacking`)."""

    def run(self, spec: TrainSpec) -> Run | None:
        """The finished run of this specification."""

    def run_id(self, spec: TrainSpec) -> str:
        """The id that the run has, or would get; empty where that is not known."""

    def zero_shot(self, model: str, *, method: str) -> Run | None:
        """The row among the runs of a model as it comes."""

    def missing(self, run: Run | None, spec: EvaluationSpec) -> tuple[str, ...]:
        """The attacks of `spec` under which the run was not tested yet."""


@dataclass(frozen=True)
class Composer:
    """Makes the steps of tables. Without `known`, as if nothing were there; without a `speed` they take unknown times,
    for which `data` are needed."""

    settings: Settings
    known: Knows | None = None
    data: Mapping[str, Data] = field(default_factory=dict)
    speed: Speed | None = None
    start: Start = field(default_factory=Start)

    def steps(self, tables: Iterable[TableRow]) -> list[Step]:
        """The tests of models as they come, then each run with its tests; what several tables need is there once."""
        cells = dict.fromkeys(cell for table in tables for cell in _cells(table))
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
        found, label = self.known.run(run) if self.known else None, _label(cells[0])
        seconds = 0.0 if found else self.speed.training(run, self.data[run.dataset]) if self.speed else None
        keep = None if any(_before(cell.epoch, run) for cell in cells) else Job.keep
        left = self.speed.disk.training(run, keep) if self.speed and self.speed.disk and not found else 0
        title = f"train {label} on {run.dataset}"
        yield Step(Job(run, keep=keep), title, run, label, found is not None, seconds, left, self.start)
        there = [replace(cell, epoch=_before(cell.epoch, run)) for cell in cells if (cell.epoch or 1) <= run.epochs]
        checkpoint = found.id if found else (self.known and self.known.run_id(run)) or run.run_name
        for spec in self._tests(checkpoint, there):
            yield self._test(spec, f"{label} from {run.dataset}", label, of=run, found=found)

    def _of_model(self, method: str, cells: Sequence[Cell]) -> Iterator[Step]:
        model, label = self.settings.model, f"{method}, zero-shot"
        found = self.known.zero_shot(model, method=method) if self.known else None
        checkpoint = zero_shot_id(method, model) if catalog.methods()[method].wrapper else model
        for spec in self._tests(checkpoint, cells):
            yield self._test(spec, label, label, of=None, found=found)

    def _tests(self, checkpoint: str, cells: Sequence[Cell]) -> list[EvaluationSpec]:
        specs = {alike: self.settings.test_of(checkpoint, alike) for alike in dict.fromkeys(map(_anywhere, cells))}
        return merged(specs[_anywhere(cell)].on(cell.dataset) for cell in cells)

    def _test(self, spec: EvaluationSpec, what: str, label: str, *, of: TrainSpec | None, found: Run | None) -> Step:
        missing, data = self.known.missing(found, spec) if self.known else spec.attacks, self.data.get(spec.datasets[0])
        seconds, left = None if missing else 0.0, 0.0
        if self.speed and data:
            seconds = self.speed.test(spec, data, attacks=missing)
            left = self.speed.disk.test(spec, data, attacks=missing) if self.speed.disk else 0
        own = [f"{name} {value}" for name, value in spec.options.items() if name not in self.settings.test]
        after = [f"after epoch {spec.epoch}"] if spec.epoch else []
        title = ", ".join([" ".join([f"test {what}", *after, f"on {spec.datasets[0]}"]), *own])
        return Step(Job(evaluate=spec), title, of, label, not missing, seconds, left, self.start)


def _label(cell: Cell) -> str:
    """ "tecoa, 5-shot, tune image"."""
    shots = cell.shots if cell.shots == "full" else f"{cell.shots}-shot"
    return ", ".join([cell.method, shots, *(f"{name.replace('_', ' ')} {value}" for name, value in cell.training)])


def _before(epoch: int | None, run: TrainSpec) -> int | None:
    """The epoch, None for the last: tests after that are those that other tables have."""
    return None if epoch == run.epochs else epoch


def _anywhere(cell: Cell) -> Cell:
    return replace(cell, dataset="")


def _cells(table: TableRow) -> list[Cell]:
    return table.cells({name: options_of([name]) for name in table.attacks})
