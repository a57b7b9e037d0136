"""What a row of the index can be, whichever database it is kept in: the same is refused by all, in the same words; and
how a record becomes a row, and a row a record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Float, Integer, Row, String, Table, Text

from .errors import UserError
from .printable import is_printable
from .schema import DOCUMENTS, TABLES, Record, metadata

JSON_SIZE = 2**24  # characters
REMEMBERED = 2**13  # characters of a document that is worth remembering
ROUNDING = 1e-6
Kind = TypeVar("Kind")
Check = Callable[[Any], str]  # gives what is wrong, "" where nothing is

RANGES: dict[str, tuple[float, float]] = {
    "value": (-1, 1),  # a share, or a mean cosine
    "low": (-1, 1),
    "high": (-1, 1),
    "n": (0, math.inf),
    "seconds": (0, math.inf),
    "epoch": (1, math.inf),
    "images": (0, math.inf),
    "peak_memory": (0, math.inf),
    "processes": (1, math.inf),
    "number": (0, math.inf),
    "rounds": (1, math.inf),
    **dict.fromkeys(("shortest", "longest", "cpu", "wall", "of_ours", "of_floor", "flops"), (0, math.inf)),
}
MOMENTS = {"created_at", "finished_at"}


def check(table: Table, values: Mapping[str, Any]) -> None:
    """Raises ValueError, which says what is wrong, for values that no row of this table has."""
    check_all(table, list(values), [tuple(values.values())])


def check_all(table: Table, names: Iterable[str], rows: Sequence[Sequence[Any]]) -> None:
    """The same for rows of some columns. A value that stands in many of them is looked at once."""
    columns = dict(zip(names, zip(*rows, strict=True), strict=False))
    for name, values in columns.items():
        wrong = CHECKS[table.name][name]
        for value in set(values):
            said = wrong(value)
            if said:
                raise _refused(table, columns, values.index(value), f"{name} {said}")
    if "value" in columns:
        intervals = zip(*(columns[name] for name in ("low", "value", "high")), strict=True)
        for number, (low, value, high) in enumerate(intervals):
            if (low is None) != (high is None):
                raise _refused(table, columns, number, "half of the interval is missing")
            if low is not None and not low - ROUNDING <= value <= high + ROUNDING:
                raise _refused(table, columns, number, "value is not within its interval")


def parsed(text: str) -> Mapping[str, Any]:
    """The object that a document holds. Many rows have the same; its readers share it. Raises ValueError for others."""
    return _parsed_once(text) if len(text) < REMEMBERED else _parsed(text)


def require_row(row: Record) -> None:
    """Raises UserError for a row that no index can keep, before any of it is."""
    require(TABLES[type(row)], values_of(row))


def require(table: Table, values: Mapping[str, Any]) -> None:
    """Raises UserError for values that no row of this table can have."""
    try:
        check(table, values)
    except ValueError as error:
        raise UserError(f"the index cannot keep {error}", hint="take a shorter name, or a smaller number") from error


def values_of(record: Record) -> dict[str, Any]:
    """The row that holds a record."""
    documents = {name: _written(getattr(record, name)) for name in DOCUMENTS if hasattr(record, name)}
    return {**vars(record), **documents}


def record_of(kind: type[Kind], row: Row[Any]) -> Kind:
    """The record that a row of its table holds."""
    values: list[Any] = list(row)
    for place in PLACES[kind]:
        values[place] = parsed(values[place])
    return kind(*values)


def _written(document: object) -> str:
    """A document as text; empty for what cannot be one, which the check of the row refuses."""
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _refused(table: Table, columns: Mapping[str, Sequence[Any]], number: int, said: str) -> ValueError:
    name = next(iter(table.primary_key.columns)).name
    return ValueError(f"{table.name} {columns[name][number]!r:.80}: {said}")


def _check_of(column: Column[Any]) -> Check:
    inner = _check_of_type(column)
    if column.nullable:
        return lambda value: "" if value is None else inner(value)
    return inner


def _check_of_type(column: Column[Any]) -> Check:
    kind, name = column.type, str(column.name)
    if isinstance(kind, Text):
        return _document
    if name in MOMENTS:
        return _moment
    if isinstance(kind, String):
        return lambda value: _text(value, kind.length or 0)
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


def _document(value: object) -> str:
    if not isinstance(value, str) or len(value) > JSON_SIZE:
        return "is no text, or too long"
    try:
        parsed(value)
    except ValueError as error:
        return str(error)
    return ""


def _parsed(text: str) -> Mapping[str, Any]:
    if "\0" in text:
        raise ValueError("holds characters that do not print")
    try:
        text.encode()
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # half a pair of surrogates is a ValueError, too
        raise ValueError("is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("is not the JSON it should be")
    return found


_parsed_once = lru_cache(maxsize=2**14)(_parsed)  # as many runs, each with a document of its own
CHECKS = {table.name: {str(c.name): _check_of(c) for c in table.columns} for table in metadata.sorted_tables}
PLACES: dict[type[Any], list[int]] = {  # of the documents of each record
    record: [n for n, column in enumerate(table.c) if column.name in DOCUMENTS] for record, table in TABLES.items()
}
