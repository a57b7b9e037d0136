"""What a row of the index can be, whichever database it is kept in: the same is refused by all, in the same words; and
how a record becomes a row, and a row a record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from .errors import UserError
from .printable import is_printable
from .schema import COLUMNS, DOCUMENTS, KEYS, TABLES, Column, Record

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


def check_all(kind: type[Any], names: Iterable[str], rows: Sequence[Sequence[Any]]) -> None:
    """Raises ValueError, which says what is wrong, for rows of some columns that no row of this record's table has. A
    value that stands in many of them is looked at once."""
    every, checks = dict(zip(names, zip(*rows, strict=True), strict=False)), CHECKS[kind]
    for name, values in every.items():
        wrong = checks[name]
        for value in set(values):
            said = wrong(value)
            if said:
                raise _refused(kind, every, values.index(value), f"{name} {said}")
    if "value" in every:
        intervals = zip(*(every[name] for name in ("low", "value", "high")), strict=True)
        for number, (low, value, high) in enumerate(intervals):
            if (low is None) != (high is None):
                raise _refused(kind, every, number, "half of the interval is missing")
            if low is not None and not low - ROUNDING <= value <= high + ROUNDING:
                raise _refused(kind, every, number, "value is not within its interval")


def parsed(text: str) -> Mapping[str, Any]:
    """The object that a document holds. Many rows have the same; its readers share it. Raises ValueError for others."""
    return _parsed_once(text) if len(text) < REMEMBERED else _parsed(text)


def row_of(record: Record) -> dict[str, Any]:
    """The row that holds a record. Raises UserError for one that no index can keep, before any of it is."""
    values = {**vars(record), **{name: _written(getattr(record, name)) for name in DOCUMENTS if hasattr(record, name)}}
    try:
        check_all(type(record), values, [tuple(values.values())])
    except ValueError as error:
        raise UserError(f"the index cannot keep {error}", hint="take a shorter name, or a smaller number") from error
    return values


def record_of(kind: type[Kind], row: Sequence[Any]) -> Kind:
    """The record that a row of its table holds."""
    values = list(row)
    for place in PLACES[kind]:
        values[place] = parsed(values[place])
    return kind(*values)


def _written(document: object) -> str:
    """A document as text; empty for what cannot be one, which the check of the row refuses."""
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _refused(kind: type[Any], every: Mapping[str, Sequence[Any]], number: int, said: str) -> ValueError:
    return ValueError(f"{TABLES[kind]} {every[KEYS[kind][0]][number]!r:.80}: {said}")


def _check_of(column: Column) -> Check:
    inner = _check_of_kind(column)
    if column.nullable:
        return lambda value: "" if value is None else inner(value)
    return inner


def _check_of_kind(column: Column) -> Check:
    (holds, longest), name = column.kind, column.name
    if holds == "document":
        return _document
    if name in MOMENTS:
        return _moment
    if holds == "text":
        return lambda value: _text(value, longest)
    lowest, highest = RANGES.get(name, (-math.inf, math.inf))
    if holds == "real":
        return lambda value: _number(value, lowest, highest, (int, float))
    bits = 63 if holds == "large" else 31
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
CHECKS = {record: {column.name: _check_of(column) for column in columns} for record, columns in COLUMNS.items()}
PLACES = {  # of the documents of each record that are no text there
    record: [place for place, column in enumerate(columns) if column.name in DOCUMENTS]
    for record, columns in COLUMNS.items()
}
