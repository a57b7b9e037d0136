"""The database of an index through SQLAlchemy: its tables are made and brought to the newest version, rows are put in
and taken out, and read where it is no SQLite file; and what its errors mean.

A database may come from elsewhere, so only plain tables are read, whatever calls itself an index (`sqlite_file.py`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from .errors import UserError
from .files import lock
from .printable import visible
from .schema import COLUMNS, KEYS, TABLES, Kind, Result
from .sqlite_file import AT_ONCE, EVERYTHING, NEWEST, OURS, VERSION_TABLE, Rows, configure, refuse_foreign

POLL_SECONDS = 0.005
REPLACE = ("sqlite", "postgresql")  # the databases that replace rows in one statement
PLAIN: dict[str, Any] = {"document": sa.Text, "number": sa.Integer, "large": sa.BigInteger, "real": sa.Float}
metadata = sa.MetaData()

_DECODED = make_url("sqlite:///%41").database == "A"  # SQLAlchemy 2.0 leaves the path of a URL as it is quoted
EXPLAINED = (SQLAlchemyError, sqlite3.Error, ModuleNotFoundError, ValueError, TypeError, OverflowError)
_POSTGRESQL = f"""
SELECT c.relname, 'is no plain table' FROM pg_class c
WHERE c.relname IN ({", ".join(f"'{name}'" for name in sorted(OURS))}) AND pg_table_is_visible(c.oid)
AND (c.relkind <> 'r' OR c.relhasrules OR c.relrowsecurity
     OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
"""


def _table(record: type[Any]) -> sa.Table:
    """The table of a record (`schema.py`). `run_id` is that of a run, with which it goes."""
    made: list[sa.Column[Any]] = []
    for name, kind, nullable in COLUMNS[record]:
        runs_own = [sa.ForeignKey("runs.id", ondelete="CASCADE")] if name == "run_id" else []
        key = name in KEYS[record]
        made.append(sa.Column(name, _type(kind), *runs_own, primary_key=key, nullable=nullable, autoincrement=False))
    return sa.Table(TABLES[record], metadata, *made)


def _type(kind: Kind) -> Any:
    return sa.String(kind.longest) if kind.holds == "text" else PLAIN[kind.holds]


OF = {record: _table(record) for record in TABLES}  # their tables
sa.Index("ix_results_run_id_dataset", OF[Result].c.run_id, OF[Result].c.dataset)


class Database:
    """Opening it brings its tables to the newest version. Raises what the database raises (`explained`)."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(parsed_url(url))
        _bring_up_to_date(self._engine)

    def pages(self, query: str, values: Mapping[str, Any]) -> Iterator[Rows]:
        """What a query finds, some rows at a time."""
        with self._engine.begin() as connection:
            found = connection.execution_options(yield_per=AT_ONCE).execute(sa.text(query), values)
            for rows in found.partitions():
                yield [tuple(row) for row in rows]

    def put(self, kind: type[Any], rows: Sequence[Mapping[str, Any]], *, instead_of: Sequence[str]) -> None:
        """Add rows, whole or not at all; each in place of the one of the same key, and all in place of some
        evaluations."""
        table = OF[kind]
        with self._writing() as connection:
            if instead_of:
                connection.execute(sa.delete(table).where(table.c.evaluation.in_(instead_of)))
            if connection.dialect.name in REPLACE:
                connection.execute(_put_into(table, connection.dialect.name), rows)
            else:
                _put_each(connection, table, rows)

    def remove(self, kind: type[Any], name: str, values: Sequence[str]) -> None:
        """Remove the rows that have one of these values in the column of this name."""
        table = OF[kind]
        with self._writing() as connection:
            connection.execute(sa.delete(table).where(table.c[name].in_(values)))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Writers of an SQLite file come one after another: under load SQLite may never give one of them its turn."""
        file, engine = _file(self._engine), self._engine.execution_options(writes=True)
        turn = lock(file, what="the index", on_wait=lambda: None, poll_seconds=POLL_SECONDS) if file else nullcontext()
        with turn, engine.begin() as connection:
            yield connection


def _put_into(table: sa.Table, dialect: str) -> sa.Executable:
    """Rows that are added, or take the place of those of the same key: to delete a run would take its results along."""
    new = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    rest = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
    found: sa.Executable = new.on_conflict_do_update(index_elements=table.primary_key.columns, set_=rest)
    return found


def _put_each(connection: sa.Connection, table: sa.Table, values: Sequence[Mapping[str, Any]]) -> None:
    """The same where the database has no statement for it that all databases share."""
    for one in values:
        same = [column == one[column.name] for column in table.primary_key.columns]
        if not connection.execute(sa.update(table).where(*same).values(**one)).rowcount:
            connection.execute(sa.insert(table).values(**one))


def _engine(url: sa.URL) -> sa.Engine:
    """An engine that opens a connection for each transaction; on SQLite a writer waits at its start for another."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name != "sqlite":
        return engine
    if file := _file(engine):
        file.parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        configure(connection)  # transactions begin below

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _file(engine: sa.Engine) -> Path | None:
    """The file of SQLite that the database is; None for one in memory, or on a server."""
    return Path(engine.url.database) if engine.dialect.name == "sqlite" and engine.url.database else None


def _bring_up_to_date(engine: sa.Engine) -> None:
    """Make the tables where there are none, else run the migrations that the database has not had yet.

    Raises UserError for a database of something else or of a newer version, ValueError for one from elsewhere.
    """
    with engine.connect() as connection:
        _refuse_foreign_tables(connection)
        if _version(connection) == NEWEST:
            return
    file = _file(engine)
    if file is None:
        _upgrade(engine)
        return
    with lock(file, what="the index"):
        with engine.connect() as connection:
            _refuse_another(connection)
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")  # once: the file remembers it
        _upgrade(engine)


def _upgrade(engine: sa.Engine) -> None:
    """One transaction: the new tables and their version number come together. Another process waits for it."""
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(20240419287)))
        _refuse_another(connection)
        if _version(connection) is None:
            metadata.create_all(connection)
            version = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
            version.create(connection)
            connection.execute(sa.insert(version).values(version_num=NEWEST))
        else:
            _migrate(connection)


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")


def _refuse_another(connection: sa.Connection) -> None:
    """Raises UserError for a database of something else, or of a newer version."""
    name, version = connection.engine.url.database, _version(connection)
    if version is None and sa.inspect(connection).get_table_names():
        raise UserError(f"the database {name} is not an index of mmcoa", hint="name another one, or an empty one")
    if version is not None and version > NEWEST:
        raise UserError(f"the index {name} was written by a newer version of mmcoa", hint="upgrade mmcoa")


def _version(connection: sa.Connection) -> str | None:
    """The number of the last migration; None where there was none. Raises ValueError where that is no number."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    found = [str(version) for version in connection.execute(query).scalars().fetchmany(2)]
    if not found:
        return None
    if len(found) > 1 or not re.fullmatch("[0-9]{4}", found[0]):
        raise ValueError("it has no version")
    return found[0]


def _refuse_foreign_tables(connection: sa.Connection) -> None:
    """Raises ValueError, which names what it is, for an index with views, triggers, or columns that are computed."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(sa.text(_POSTGRESQL)).first()
        if found is not None:
            raise ValueError(f"its {found[0]} {found[1]}")
    if connection.dialect.name == "sqlite":
        refuse_foreign(connection.exec_driver_sql(EVERYTHING).all())


def parsed_url(url: str) -> sa.URL:
    """The URL of an index. Raises UserError for what is none, without quoting it."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        # not even the cause: it may quote a password
        raise UserError(
            "MMCOA_DATABASE_URL is not a database URL", hint="for example postgresql://user@host/mmcoa"
        ) from None
    if parsed.database and not _DECODED:
        parsed = parsed.set(database=unquote(parsed.database))
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def explained(url: str, error: Exception) -> Exception:
    """What a failure of the database means and what to do, without a password of its URL; the error itself where it is
    none of the database."""
    if not isinstance(error, EXPLAINED):
        return error
    shown = parsed_url(url).set(query={}).render_as_string(hide_password=True)
    if isinstance(error, NoSuchModuleError):
        return UserError(f"there is no database called {shown.partition(':')[0]}", hint="sqlite and postgresql work")
    if isinstance(error, ModuleNotFoundError):
        return UserError(f"the index {shown} needs {error.name}", hint="for PostgreSQL: pip install 'mmcoa[postgres]'")
    reason = visible(str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0])
    if isinstance(error, IntegrityError):
        what = f"the index {shown} keeps nothing of a run that it does not have: {reason}"
        return UserError(what, hint="was it removed meanwhile? type the same command again")
    if "is full" in reason:
        hint = "free some space, or set MMCOA_HOME to a larger disk, and type the same command again"
        return UserError(f"the disk is full ({shown})", hint=hint)
    if isinstance(error, ValueError | TypeError | OverflowError):
        hint = "it may be damaged, or made by others; move it away to begin a new one"
        return UserError(f"the index {shown} is not to be trusted: {reason}", hint=hint)
    hint = "see whether the server runs and lets you in"
    if shown.startswith("sqlite"):
        hint = "see whether its folder can be written to and the disk is full; if it is damaged, move it away"
    return UserError(f"the index {shown} cannot be used: {reason}", hint=hint)
