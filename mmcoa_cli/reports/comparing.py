"""Checkpoints compared: how far each result is behind the best one of its table, and whether that is chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import UserError

from ..settings import Home
from ..tasks import TASKS
from ..tasks.intervals import sign_test
from .content import Report
from .pivot import panels
from .rows import Behind, Row

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def compare(report: Report, home: Home) -> None:
    """Write into the rows of a report what each is behind the best of its column; nothing beside a column of one
    result. Seeds that share a cell are compared one by one all the same."""
    sets = _Sets(home)
    for panel in panels(report.results, table=report.table) if report.seeds else report.panels:
        for column in (*panel.columns, *panel.others):
            cells = [line.cells[column][0] for line in panel.lines if column in line.cells]
            best = max(cells, key=lambda row: row.value)
            for row in cells if len(cells) > 1 else ():
                object.__setattr__(row, "behind", sets.behind(row, best))


class _Sets:
    """What each sample counted in results, from the stored example sets."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._credits: dict[tuple[str, str], Floats | None] = {}

    def behind(self, row: Row, best: Row) -> Behind:
        """How far `row` is behind `best`, with the p-value where the samples of both are there and the same."""
        if row is best:
            return Behind(0.0, None)
        own, others = self._of(row), self._of(best)
        if own is None or others is None or len(own) != len(others):
            return Behind(best.value - row.value, None)
        return Behind(best.value - row.value, sign_test(others - own))

    def _of(self, row: Row) -> Floats | None:
        """None where nothing says what each counted, as of examples that were removed."""
        key = (row.evaluation, row.metric)
        if key not in self._credits:
            self._credits[key] = self._read(row)
        return self._credits[key]

    def _read(self, row: Row) -> Floats | None:
        path = self._home.examples / f"{row.examples}.h5"
        if not path.exists():  # as many may be of an index from elsewhere
            return None
        from store.examples import stored_set

        try:
            found = stored_set(path)
            return TASKS[row.task].credits(row.metric, found.values)
        except (UserError, KeyError, ValueError):
            return None
