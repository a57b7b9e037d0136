"""Checkpoints compared: how far each result is behind the best one of its table, and whether that is chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import UserError

from ..attacks.compat import TIES, parts
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
    for panel in panels(report.results, table=report.table) if report.seeds else report.panels:
        for column in (*panel.columns, *panel.others):
            cells = [line.cells[column][0] for line in panel.lines if column in line.cells]
            best = max(cells, key=lambda row: row.value)
            if len(cells) > 1:
                best_credits = credits_of(best, home)
                for row in cells:
                    row.behind = _behind(row, best, best_credits, home)


def _behind(row: Row, best: Row, best_credits: Floats | None, home: Home) -> Behind:
    """How far `row` is behind `best`, with the p-value where the samples of both are there and the same."""
    if row is best:
        return Behind(0.0, None)
    credits = credits_of(row, home) if best_credits is not None else None
    if credits is None or best_credits is None or len(credits) != len(best_credits):
        return Behind(best.value - row.value, None)
    return Behind(best.value - row.value, sign_test(best_credits - credits))


def credits_of(row: Row, home: Home) -> Floats | None:
    """What each sample counted in a result, as its example set has it; None where nothing says so, as of examples that
    were removed."""
    path = home.examples / f"{row.examples}.h5"
    if not path.exists():  # as many may be of an index from elsewhere
        return None
    from store.examples import stored_set

    try:
        task, values = TASKS[row.task], stored_set(path).values
        return task.credits(row.metric, task.first_wins(values) if TIES in parts(row.compat) else values)
    except (UserError, KeyError, ValueError):
        return None
