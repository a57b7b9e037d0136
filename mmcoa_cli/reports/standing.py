"""Which results stand in a table of the paper: those that its grid names.

Other figures leave runs of their own in the index: of one encoder, of one loss, between two models, under other radii.
A table that has `every` result of its task (`report --task iid`) shows these too. What stands in for the paper's
training sets, shots and radii is not left out: where a table has no result of its own ones, it has those of others. A
model as it comes stands on the table's datasets, and beside runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from .. import catalog
from ..attacks.base import ATTACKS, options_of
from ..catalog import TableRow
from ..jobs.training_spec import options_of as options_of_method
from .rows import Row

Document = Mapping[str, Any]


def standing(rows: Sequence[Row], table: TableRow) -> list[Row]:
    """Those of `rows` that stand in the table, in their order."""
    if table.every:
        return list(rows)
    found = _under_its_attacks([row for row in rows if _is_named(row, table)], table)
    sources = _own({row.source for row in found if row.source}, table.sources)
    shots = {source: shots_of(table, {row.shots for row in found if row.source == source}) for source in sources}
    found = [row for row in found if not row.source or row.shots in shots.get(row.source, ())]
    trained = {row.dataset for row in found if row.source}
    datasets = {*table.datasets, *trained}
    named = [row for row in found if row.dataset in datasets]
    return named or found


def shots_of(table: TableRow, there: set[str]) -> set[str]:
    """The table's own shots; where none of them is there, the most that are."""
    return _own(there, table.shots) if there & {*table.shots} else {max(there, key=_number)} if there else set()


def is_named(run: Document, table: TableRow, *, method: str, w: float | None) -> bool:
    """Whether a table names a run by how it was made; `run` is what the index says of it."""
    if method not in table.methods or w not in table.axis("w"):
        return False
    return not run or any(_trained_so(run, method, training) for training in table.axis("training"))


def _is_named(row: Row, table: TableRow) -> bool:
    if not is_named(row.spec if row.source and not row.way else {}, table, method=row.method, w=_between(row, table)):
        return False
    return not row.before_the_last or row.epoch in table.axis("epoch")


def _under_its_attacks(rows: Sequence[Row], table: TableRow) -> list[Row]:
    """Those under attacks with the table's options; of an attack that never ran with them, those under any."""
    free = (*table.lines, table.columns)  # further lines and columns may have any
    varied = [(name, table.axis(name)) for name in _varied(table) if name not in free]
    usual = {attack: options_of([attack]) for attack in {row.attack for row in rows} if attack in ATTACKS}
    own = {id(row) for row in rows if all(_attacked_so(row, name, of, usual) for name, of in varied)}
    there = {row.attack for row in rows if id(row) in own}
    return [row for row in rows if id(row) in own or row.attack not in there]


def _between(row: Row, table: TableRow) -> float | None:
    """Where the row's model lies; a model that nothing was trained on has no such place."""
    found: float | None = row.get("w") if row.source else table.axis("w")[0]
    return found


def _trained_so(run: Document, method: str, training: Document) -> bool:
    """Whether the options in which runs of some table differ are those of `training`."""
    row = catalog.methods()[method]
    usual = {**options_of_method(row), "tune": row.trains}
    return all(
        run.get(name, usual[name]) == training.get(name, usual[name]) for name in _of_training() if name in usual
    )


def _attacked_so(row: Row, option: str, wanted: Sequence[Any], usual: Mapping[str, Document]) -> bool:
    """Whether an option of the attack has one of the table's values, or its default where the table has none."""
    value = row.threat.options.get(option)
    if value is None or row.attack not in usual:
        return True
    return value in wanted if wanted else value == usual[row.attack][option]


@cache
def _of_training() -> tuple[str, ...]:
    """The options of training that a grid has."""
    grids = [training for table in catalog.tables().values() for training in table.axis("training")]
    return tuple(dict.fromkeys(name for training in grids for name in training))


def _varied(table: TableRow) -> tuple[str, ...]:
    """The options of attacks that this table has, and those of several values in another one."""
    several = [name for other in catalog.tables().values() for name, values in other.options.items() if len(values) > 1]
    return tuple(dict.fromkeys((*table.options, *several)))


def _own(there: set[str], papers: Sequence[str]) -> set[str]:
    """Those that the table names, all where there are none of them."""
    return there & {*papers} or there


def _number(shots: str) -> float:
    return math.inf if shots == "full" else float(shots) if shots.isdecimal() else 0.0
