"""The databases that an index can be kept in: their URLs, how a transaction begins, and what their errors mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from .errors import UserError
from .printable import visible

BUSY_SECONDS = 30
LONGEST = 2**26  # bytes of a value that SQLite may hand out
_DECODED = make_url("sqlite:///%41").database == "A"  # SQLAlchemy 2.0 leaves the path of a URL as it is quoted


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


def explanation(shown: str, error: Exception) -> UserError:
    """What a failure of the database means and what to do; `shown` is its URL without a password."""
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
        connection.isolation_level = None  # transactions begin below, not in the driver
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
