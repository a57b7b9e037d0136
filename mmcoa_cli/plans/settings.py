"""What the runs and the tests of a plan have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import catalog
from ..catalog import Cell
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.training_spec import DEFAULT_MODEL, TrainSpec, train_spec


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
