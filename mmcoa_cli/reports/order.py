"""In which order lines, columns and tables come: as the catalog and the table have it, then what they do not know."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..catalog.tables import AXES, MEAN, TableRow
from . import earlier

if TYPE_CHECKING:
    from .rows import Row

Key = tuple[Any, ...]
OF_RUN = ("method", "shots", "source")  # fields in which only other runs differ
OF_WEIGHTS = (*OF_RUN, "epoch")  # and other weights of the same


def place(name: str, value: Any, table: TableRow) -> Key:
    """What values of a field are sorted by: numbers of shots by themselves, others as the table or the catalog has
    them."""
    if name == "shots":
        return (float(value) if value.isdigit() else math.inf,)
    known = list(catalog.methods()) if name == "method" else list(table.axis(name))
    return (known.index(value) if value in known else len(known), *_natural(str(value)))


def of_run(row: Row, table: TableRow) -> Key:
    """What lines are sorted by: their own fields, then all in which runs differ but for the seed, the newest first."""
    fields = [name for name in dict.fromkeys((*table.lines, *OF_RUN)) if name != table.columns]
    return (
        *(part for name in fields for part in place(name, row.get(name), table)),
        row.before_the_last or 0 if table.columns != "epoch" else 0,
        row.train_compat,
        row.training,
        row.train_part,
        *earlier.state(row),
    )


def of_row(row: Row, table: TableRow) -> Key:
    """What the rows of a report are sorted by: its tables, their lines, their cells."""
    attack = place("attack", row.attack, table)
    spread = spreads_over_datasets(table)
    return (
        *(attack if "attack" in apart(table) else ()),
        *(() if spread else (row.dataset,)),
        *(row.model, row.compat, row.seed),
        *((row.source,) if "source" in apart(table) else ()),
        *of_run(row, table),
        *(place("dataset", row.dataset, table) if spread else ()),
        *(row.run, *attack, row.evaluation),
    )


def spreads_over_datasets(table: TableRow) -> bool:
    """Whether results on several datasets stand in one table."""
    return "dataset" in (*table.lines, table.columns) or table.cell == MEAN


def apart(table: TableRow) -> list[str]:
    """The axes whose values each have a table of their own."""
    names = [*AXES, *table.options]
    spread = ["dataset"] if spreads_over_datasets(table) else []
    return [name for name in names if name not in (*table.lines, table.columns, *spread)]


@lru_cache(maxsize=1024)
def _natural(text: str) -> Key:
    """Numbers and fractions by their size, then words."""
    try:
        return (0, Fraction(text), "")
    except (ValueError, ZeroDivisionError):
        return (1, Fraction(0), text)
