"""The database of an index through SQLAlchemy: rows are put in and taken out, and read where it is no SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, Table, delete, insert, text, update

from .databases import bring_up_to_date, new_engine, parsed_url
from .files import lock
from .schema import TABLES
from .sqlite_file import AT_ONCE, Rows
from .tables import metadata

POLL_SECONDS = 0.005
REPLACE = ("sqlite", "postgresql")  # the databases that replace rows in one statement


class Database:
    """Opening it brings its tables to the newest version. Raises what the database raises (`databases.explained`)."""

    def __init__(self, url: str) -> None:
        self._engine = new_engine(parsed_url(url))
        bring_up_to_date(self._engine)

    def pages(self, query: str, values: Mapping[str, Any]) -> Iterator[Rows]:
        """What a query finds, some rows at a time."""
        with self._engine.begin() as connection:
            found = connection.execution_options(yield_per=AT_ONCE).execute(text(query), values)
            for rows in found.partitions():
                yield [tuple(row) for row in rows]

    def put(self, kind: type[Any], rows: Sequence[Mapping[str, Any]], *, instead_of: Sequence[str]) -> None:
        """Add rows, whole or not at all; each in place of the one of the same key, and all in place of some
        evaluations."""
        table = metadata.tables[TABLES[kind]]

        def put(connection: Connection) -> None:
            if instead_of:
                connection.execute(delete(table).where(table.c.evaluation.in_(instead_of)))
            if connection.dialect.name in REPLACE:
                connection.execute(_put_into(table, connection.dialect.name), rows)
            else:
                _put_each(connection, table, rows)

        self._write(put)

    def remove(self, kind: type[Any], name: str, values: Sequence[str]) -> None:
        """Remove the rows that have one of these values in the column of this name."""
        table = metadata.tables[TABLES[kind]]
        chosen: ColumnElement[bool] = table.c[name].in_(values)
        self._write(lambda connection: connection.execute(delete(table).where(chosen)))

    def _write(self, work: Callable[[Connection], object]) -> None:
        with self._turn(), self._engine.execution_options(writes=True).begin() as connection:
            work(connection)

    def _turn(self) -> AbstractContextManager[None]:
        """Writers of an SQLite file come one after another: under load SQLite may never give one of them its turn."""
        if self._engine.dialect.name != "sqlite" or not self._engine.url.database:
            return nullcontext()
        file = Path(self._engine.url.database)
        return lock(file, what="the index", on_wait=lambda: None, poll_seconds=POLL_SECONDS)


def _put_into(table: Table, dialect: str) -> Executable:
    """Rows that are added, or take the place of those of the same key: to delete a run would take its results along."""
    new = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    rest = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
    found: Executable = new.on_conflict_do_update(index_elements=table.primary_key.columns, set_=rest)
    return found


def _put_each(connection: Connection, table: Table, values: Sequence[Mapping[str, Any]]) -> None:
    """The same where the database has no statement for it that all databases share."""
    for one in values:
        same = [column == one[column.name] for column in table.primary_key.columns]
        if not connection.execute(update(table).where(*same).values(**one)).rowcount:
            connection.execute(insert(table).values(**one))
