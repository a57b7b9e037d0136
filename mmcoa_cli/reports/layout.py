"""How a table is laid out: what keeps its panels apart, and in which order panels, lines and columns come."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..catalog.tables import AXES, MEAN, TableRow
from . import outdated

if TYPE_CHECKING:
    from .rows import Row

Key = tuple[Any, ...]
NUMBER = re.compile(r"[-+\d./]{1,40}(e[-+]?\d{1,3})?", re.IGNORECASE)
OF_RUN = ("method", "shots", "source")  # fields in which only other runs differ
OF_RUNS = (*OF_RUN, "w")  # and models between two
OF_WEIGHTS = (*OF_RUNS, "epoch")  # and other weights of the same
BY_RUN = (*OF_WEIGHTS, "model", "training")  # what a run has one value of


class Layout:
    """Of a table's row in the catalog: values come as the table and the catalog have them, then what they do not know.

    `spreads` tells whether results on several datasets stand in one panel; `apart` are the axes whose values have
    panels of their own, and `free` the fields whose values do not.
    """

    def __init__(self, table: TableRow) -> None:
        self.table = table
        self.free = (*table.lines, table.columns, *(BY_RUN if "run" in table.lines else ()))
        self.spreads = "dataset" in self.free or table.cell == MEAN
        spread = ("dataset",) if self.spreads else ()
        self.apart = tuple(name for name in (*AXES, *table.options) if name not in (*self.free, *spread))
        self.place = cache(self._place)
        self._of_line = tuple(name for name in dict.fromkeys((*table.lines, *OF_RUN)) if name != table.columns)

    def _place(self, name: str, value: Any) -> Key:
        """What values of a field are sorted by; numbers of shots and of epochs by themselves."""
        if name in ("shots", "epoch"):
            return (float(value) if str(value).isdecimal() else math.inf,)
        known = list(catalog.methods()) if name == "method" else list(self.table.axis(name))
        return (known.index(value) if value in known else len(known), *natural(str(value)))

    def column(self, row: Row) -> Any:
        """What stands above the row's cell."""
        return row.get(self.table.columns)

    def of_run(self, row: Row) -> Key:
        """What lines are sorted by: their own fields, then all in which runs differ but for the seed, the newest
        first."""
        return (
            *[self.place(name, row.get(name)) for name in self._of_line],
            0 if self.table.columns == "epoch" else row.before_the_last or 0,
            row.train_compat,
            row.way if self.table.columns == "w" else row.training,
            row.train_part,
            *outdated.state(row),
        )

    def of_row(self, row: Row) -> Key:
        """What the rows of a report are sorted by: its tables, their lines, their cells."""
        attack, columns = self.place("attack", row.attack), self.table.columns
        other = columns in ("epoch", "w") or columns in self.table.options  # else it is of those below
        return (
            *(attack if "attack" in self.apart else ()),
            *(() if self.spreads else (row.dataset,)),
            *(row.model, row.compat, row.seed),
            *((row.source,) if "source" in self.apart else ()),
            *self.of_run(row),
            *(self.place("dataset", row.dataset) if self.spreads else ()),
            *(row.run, *attack, *(self.place(columns, self.column(row)) if other else ()), row.evaluation),
        )


def natural(text: str) -> Key:
    """Numbers and fractions by their size, then words; so is a name like 1e99999999, of which no number is made."""
    try:
        return (0, Fraction(text), "") if NUMBER.fullmatch(text) else (1, 0, text)
    except (ValueError, ZeroDivisionError):
        return (1, 0, text)
