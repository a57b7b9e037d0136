"""What benches measured, in the index: written whole, read whole, found by the beginning of a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from . import schema
from .errors import UserError
from .index import Index, require_values, written
from .row_checks import parsed
from .schema import Measure

_MEASURE = schema.measures.c
SETTING = list(_MEASURE.keys()).index("setting")


class Benches(Index):
    """The index, as far as it holds benches."""

    def save(self, measures: Sequence[Measure]) -> None:
        """Add a bench, whole or not at all. Raises UserError for values that no database would keep."""
        rows: list[dict[str, Any]] = [{**vars(one), "setting": written(one.setting)} for one in measures]
        for row in rows:
            require_values(schema.measures, row)
        if rows:
            self._write(lambda connection: connection.execute(insert(schema.measures), rows))

    def every(self) -> list[Measure]:
        """The rows of all benches, the oldest bench first."""
        query = select(schema.measures).order_by(_MEASURE.created_at, _MEASURE.bench, _MEASURE.number)
        return [_measure_of(row) for row in self._rows(schema.measures, query)]

    def find(self, beginning: str) -> list[Measure]:
        """The rows of the bench whose name is or begins with this. Raises UserError where none or several do."""
        every = self.every()
        names = list(dict.fromkeys(one.bench for one in every))
        found = [name for name in names if name == beginning] or [name for name in names if name.startswith(beginning)]
        if len(found) != 1 or not beginning:
            what = "no bench begins" if not found else f"{len(found)} benches begin"
            raise UserError(f"{what} with {beginning!r}", hint="mmcoa bench --list")
        return [one for one in every if one.bench == found[0]]


def _measure_of(row: Any) -> Measure:
    values: list[Any] = list(row)
    values[SETTING] = parsed(values[SETTING])
    return Measure(*values)
