"""The tables of the index (`schema.py`) as SQLAlchemy has them, to make and to fill them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

from .schema import COLUMNS, KEYS, TABLES, Epoch, Kind, Measure, Result, Run

PLAIN: dict[str, Any] = {"document": Text, "number": Integer, "large": BigInteger, "real": Float}
metadata = MetaData()


def _table(record: type[Any]) -> Table:
    """The table of a record. `run_id` is that of a run, with which it goes."""
    made: list[Column[Any]] = []
    for name, kind, nullable in COLUMNS[record]:
        runs_own = [ForeignKey("runs.id", ondelete="CASCADE")] if name == "run_id" else []
        key = name in KEYS[record]
        made.append(Column(name, _type(kind), *runs_own, primary_key=key, nullable=nullable, autoincrement=False))
    return Table(TABLES[record], metadata, *made)


def _type(kind: Kind) -> Any:
    return String(kind.longest) if kind.holds == "text" else PLAIN[kind.holds]


runs, results, epochs, measures = _table(Run), _table(Result), _table(Epoch), _table(Measure)
Index("ix_results_run_id_dataset", results.c.run_id, results.c.dataset)
