"""The cells of tables, and the runs and tests that give them, by the settings of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import catalog
from ..attacks.base import options_of
from ..catalog import Cell, TableRow
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.training_spec import DEFAULT_MODEL, TrainSpec, train_spec
from .merging import merged


@dataclass(frozen=True)
class Settings:
    """Options of `mmcoa train` and of `mmcoa evaluate`; runs have at most so many `epochs`, and `lr` is that of the
    methods that fine-tune a model (that of a learned prompt is of another size). Raises UserError, as the
    specifications do, for what cannot be."""

    model: str = DEFAULT_MODEL
    training: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    lr: float | None = None

    def run(self, cell: Cell) -> TrainSpec:
        """The run that a cell is about."""
        about = {"dataset": cell.source, "shots": cell.shots, "model": self.model, **dict(cell.training)}
        lr = {"lr": self.lr} if self.lr and catalog.methods()[cell.method].fine_tunes else {}
        spec = train_spec(cell.method, **{**self.training, **lr, **about})
        return spec.changed(epochs=min(spec.epochs, self.epochs)) if self.epochs else spec

    def test_of(self, checkpoint: str, cell: Cell) -> EvaluationSpec:
        """The test of a run or a model that a cell is about."""
        options = {**self.test, "epoch": cell.epoch, "task": cell.task, **dict(cell.options)}
        return evaluation_spec(checkpoint, (cell.dataset,), (cell.attack,), **options)


def tests_of(settings: Settings, checkpoint: str, cells: Sequence[Cell]) -> list[EvaluationSpec]:
    """The tests of a run or a model that give these cells, on each dataset as few as can be."""
    specs = {alike: settings.test_of(checkpoint, alike) for alike in dict.fromkeys(map(_anywhere, cells))}
    return merged(specs[_anywhere(cell)].on(cell.dataset) for cell in cells)


def in_run(cell: Cell, epochs: int) -> Cell | None:
    """The cell as a run of so many epochs has it, if it has: a test after the last is that of other tables."""
    if cell.epoch is None or cell.epoch < epochs:
        return cell
    return cell._replace(epoch=None) if cell.epoch == epochs else None


def _anywhere(cell: Cell) -> Cell:
    return cell._replace(dataset="")


def cells_of(table: TableRow) -> list[Cell]:
    """The results that it shows, each once."""
    return table.cells({name: options_of([name]) for name in table.attacks})
