"""Rows to sheets, by the layout of the task."""

from __future__ import annotations

from collections.abc import Sequence

from .. import catalog
from .grid_wording import grid_sheets
from .rows import Row
from .wording import Sheet, section_sheets


def sheets(rows: Sequence[Row], *, task: catalog.TableRow, seeds: bool = False, digits: int = 2) -> list[Sheet]:
    """The tables of a report in words; intervals have `digits` decimals, all other percentages two."""
    if task.on_source:
        return section_sheets(rows, task=task, seeds=seeds, digits=digits)
    return grid_sheets(rows, task=task, seeds=seeds)
