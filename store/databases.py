"""The databases that an index can be kept in: their URLs, how a transaction begins, and what their errors mean; which
of them are taken for an index, and how one is brought to the newest version of its tables.

A database may come from elsewhere, so only plain tables are read, whatever calls itself an index: a view that selects
from itself never ends; a trigger changes what was written; a column can be computed.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    MetaData,
    NullPool,
    String,
    Table,
    column,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from .errors import UserError
from .files import lock
from .printable import visible
from .sqlite_file import EVERYTHING, NEWEST, OURS, VERSION_TABLE, configure, refuse_foreign
from .tables import metadata

_DECODED = make_url("sqlite:///%41").database == "A"  # SQLAlchemy 2.0 leaves the path of a URL as it is quoted
EXPLAINED = (SQLAlchemyError, sqlite3.Error, ModuleNotFoundError, ValueError, TypeError, OverflowError)
_POSTGRESQL = f"""
SELECT c.relname, 'is no plain table' FROM pg_class c
WHERE c.relname IN ({", ".join(f"'{name}'" for name in sorted(OURS))}) AND pg_table_is_visible(c.oid)
AND (c.relkind <> 'r' OR c.relhasrules OR c.relrowsecurity
     OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
"""


def parsed_url(url: str) -> URL:
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


def new_engine(url: URL) -> Engine:
    """An engine that opens a connection for each transaction; on SQLite a writer waits at its start for another."""
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name != "sqlite":
        return engine
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        configure(connection)  # transactions begin below

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def bring_up_to_date(engine: Engine) -> None:
    """Make the tables where there are none, else run the migrations that the database has not had yet.

    Raises UserError for a database of something else or of a newer version, ValueError for one from elsewhere.
    """
    with engine.connect() as connection:
        refuse_foreign_tables(connection)
        if _version(connection) == NEWEST:
            return
    if engine.dialect.name != "sqlite" or not engine.url.database:
        _upgrade(engine)
        return
    with lock(Path(engine.url.database), what="the index"):
        with engine.connect() as connection:
            _refuse_another(connection)
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")  # once: the file remembers it
        _upgrade(engine)


def _upgrade(engine: Engine) -> None:
    """One transaction: the new tables and their version number come together. Another process waits for it."""
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(20240419287)))
        _refuse_another(connection)
        if _version(connection) is None:
            metadata.create_all(connection)
            version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
            version.create(connection)
            connection.execute(insert(version).values(version_num=NEWEST))
        else:
            _migrate(connection)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")


def _refuse_another(connection: Connection) -> None:
    """Raises UserError for a database of something else, or of a newer version."""
    name, version = connection.engine.url.database, _version(connection)
    if version is None and inspect(connection).get_table_names():
        raise UserError(f"the database {name} is not an index of mmcoa", hint="name another one, or an empty one")
    if version is not None and version > NEWEST:
        raise UserError(f"the index {name} was written by a newer version of mmcoa", hint="upgrade mmcoa")


def _version(connection: Connection) -> str | None:
    """The number of the last migration; None where there was none. Raises ValueError where that is no number."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    query = select(column("version_num", String)).select_from(table(VERSION_TABLE)).limit(2)
    found = [str(version) for version in connection.execute(query).scalars()]
    if not found:
        return None
    if len(found) > 1 or not re.fullmatch("[0-9]{4}", found[0]):
        raise ValueError("it has no version")
    return found[0]


def refuse_foreign_tables(connection: Connection) -> None:
    """Raises ValueError, which names what it is, for an index with views, triggers, or columns that are computed."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(text(_POSTGRESQL)).first()
        if found is not None:
            raise ValueError(f"its {found[0]} {found[1]}")
    if connection.dialect.name == "sqlite":
        refuse_foreign(connection.exec_driver_sql(EVERYTHING).all())
