"""The cells of tables, and the tests that give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..attacks.base import options_of
from ..catalog import Cell, TableRow
from ..jobs.evaluation_spec import EvaluationSpec
from .merging import merged
from .request import Settings


def tests_of(settings: Settings, checkpoint: str, cells: Sequence[Cell]) -> list[EvaluationSpec]:
    """The tests of a run or a model that give these cells, on each dataset as few as can be."""
    specs = {alike: settings.test_of(checkpoint, alike) for alike in dict.fromkeys(map(_anywhere, cells))}
    return merged(specs[_anywhere(cell)].on(cell.dataset) for cell in cells)


def in_run(cell: Cell, epochs: int) -> Cell | None:
    """The cell as a run of so many epochs has it, if it has: a test after the last is that of other tables."""
    if cell.epoch is None or cell.epoch < epochs:
        return cell
    return replace(cell, epoch=None) if cell.epoch == epochs else None


def _anywhere(cell: Cell) -> Cell:
    return replace(cell, dataset="")


def cells_of(table: TableRow) -> list[Cell]:
    """The results that it shows, each once."""
    return table.cells({name: options_of([name]) for name in table.attacks})
