"""What a row of the index can be, whichever database it is kept in: the same is refused by all, in the same words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text

from .printable import is_printable
from .schema import evaluations, runs

JSON_SIZE = 2**24  # characters
ROUNDING = 1e-6
Check = Callable[[Any], str]  # gives what is wrong, "" where nothing is

RANGES: dict[str, tuple[float, float]] = {
    "value": (0, 1),
    "attack_success_rate": (0, 1),
    "n": (1, math.inf),
    "correct": (0, math.inf),
    "collisions": (0, math.inf),
    "distinct_prompts": (1, math.inf),
    "limit": (1, math.inf),
    "steps": (0, math.inf),
    "seconds": (0, math.inf),
    "batch_size": (1, math.inf),
}
DOCUMENTS = {"spec": dict, "prompts": list}  # columns that hold JSON, and what stands outermost
MOMENTS = {"created_at", "finished_at"}


def check(table: Table, values: Mapping[str, Any]) -> None:
    """Raises ValueError, which says what is wrong, for values that no row of this table can have."""
    for name, wrong in CHECKS[table.name].items():
        said = wrong(values[name])
        if said:
            raise ValueError(f"{table.name} {values.get('id')!r:.80}: {name} {said}")
    if table is evaluations:
        share = values["correct"] / values["n"]
        if share > 1 or abs(values["value"] - share) > ROUNDING:
            said = "more are correct than there are" if share > 1 else "value is not the share that is correct"
            raise ValueError(f"{table.name} {values['id']!r:.80}: {said}")


def _check_of(column: Column[Any]) -> Check:
    inner = _check_of_type(column)
    if column.nullable:
        return lambda value: "" if value is None else inner(value)
    return inner


def _check_of_type(column: Column[Any]) -> Check:
    kind, name = column.type, str(column.name)
    if name in DOCUMENTS and isinstance(kind, Text):
        return lambda value: _document(value, DOCUMENTS[name])
    if name in MOMENTS:
        return _moment
    if isinstance(kind, String):
        return lambda value: _text(value, kind.length or JSON_SIZE)
    if isinstance(kind, Boolean):
        return lambda value: "" if isinstance(value, bool) else "is neither true nor false"
    lowest, highest = RANGES.get(name, (-math.inf, math.inf))
    if isinstance(kind, Float):
        return lambda value: _number(value, lowest, highest, (int, float))
    bits = 63 if isinstance(kind, BigInteger) else 31
    assert isinstance(kind, Integer), kind  # of the schema, not of what a user gives
    return lambda value: _number(value, max(lowest, -(2**bits)), min(highest, 2**bits - 1), (int,))


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str):
        return "is no text"
    if len(value) > longest:
        return f"is longer than {longest} characters"
    return "" if is_printable(value) else "holds characters that do not print"


def _moment(value: object) -> str:
    try:
        datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return "is no date"
    return ""


def _number(value: Any, lowest: float, highest: float, types: tuple[type[float], ...] | tuple[type[int]]) -> str:
    if not isinstance(value, types) or isinstance(value, bool):
        return "is no whole number" if float not in types else "is no number"
    if not lowest <= value <= highest or value in (math.inf, -math.inf):  # NaN is not between
        return f"is not between {lowest:g} and {highest:g}" if math.isfinite(highest) else f"is not {lowest:g} or more"
    return ""


@lru_cache(maxsize=64)  # many rows have the same prompts
def _document(value: object, outermost: type) -> str:
    if not isinstance(value, str) or len(value) > JSON_SIZE:
        return "is no text, or too long"
    if "\0" in value:
        return "holds characters that do not print"
    try:
        value.encode()
        found = json.loads(value)
    except (ValueError, RecursionError):  # half a pair of surrogates is a ValueError, too
        return "is no JSON"
    return "" if isinstance(found, outermost) else "is not the JSON it should be"


CHECKS = {
    table.name: {str(column.name): _check_of(column) for column in table.columns} for table in (runs, evaluations)
}
