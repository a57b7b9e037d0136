"""Bringing an index to the newest version of its tables, once; a look at one row where that is not needed."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, String, column, func, inspect, select, table

from .errors import UserError
from .files import lock
from .index_origin import VERSION_TABLE, refuse_foreign_tables

NEWEST = "0006"  # known here, because Alembic takes longer to import than most commands to run


def bring_up_to_date(engine: Engine) -> None:
    """Run the migrations that the database has not had yet.

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
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(20240419287)))
        _refuse_another(connection)
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
