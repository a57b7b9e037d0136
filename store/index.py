"""The index of results: which run was tested on what, and what came out. SQLite by default, any SQLAlchemy URL else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from .errors import UserError
from .files import lock
from .schema import Evaluation, Run, evaluations, runs

BUSY_SECONDS = 30
VERSION_TABLE = "mmcoa_version"
_DECODED = make_url("sqlite:///%41").database == "A"  # SQLAlchemy 2.0 leaves the path of a URL as it is quoted


class Index:
    """The runs and evaluations of one store. Opening it brings its tables to the newest version.

    Raises UserError, here and in every method, when the database cannot be reached, is damaged, is not an index, or was
    written by a newer version. No message shows the password or the options of the URL.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self._shown = parsed.set(query={}).render_as_string(hide_password=True)
        with self._explained():
            self._engine = _engine(parsed)
            _migrate(self._engine)

    def save_run(self, run: Run) -> None:
        """Add the run, or replace the one of the same id."""
        self._put(runs, asdict(run))

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Add the evaluation, or replace the one of the same id. Its run must be in the index."""
        self._put(evaluations, asdict(evaluation))

    def run(self, run_id: str) -> Run | None:
        rows = self._rows(select(runs).where(runs.c.id == run_id))
        return Run(**rows[0]) if rows else None

    def evaluation(self, evaluation_id: str) -> Evaluation | None:
        rows = self._rows(select(evaluations).where(evaluations.c.id == evaluation_id))
        return Evaluation(**rows[0]) if rows else None

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        return [Run(**row) for row in self._rows(select(runs).order_by(runs.c.created_at, runs.c.id))]

    def evaluations(self) -> list[tuple[Run, Evaluation]]:
        """All evaluations with their runs, the oldest first."""
        found = self._rows(select(evaluations).order_by(evaluations.c.created_at, evaluations.c.id))
        by_id = {run.id: run for run in self.runs()}  # read last, so that it has the run of each evaluation
        return [(by_id[row["run_id"]], Evaluation(**row)) for row in found if row["run_id"] in by_id]

    def find_run(self, beginning: str) -> Run:
        """The run whose id is or begins with `beginning`. Raises UserError when none or several do."""
        every = {run.id: run for run in self.runs()}
        if beginning in every:
            return every[beginning]
        found = [run_id for run_id in every if beginning and run_id.startswith(beginning)]
        if len(found) == 1:
            return every[found[0]]
        if found:
            raise UserError(f"{len(found)} runs begin with {beginning!r}", hint=f"type more: {', '.join(found[:5])}")
        close = get_close_matches(beginning, every, n=3, cutoff=0.3) or list(every)[-3:]
        makes = "mmcoa train makes a run, mmcoa fetch --list shows the models"
        hint = f"did you mean {' or '.join(close)}?" if close else makes
        raise UserError(f"there is no run or model called {beginning!r}", hint=hint)

    def remove_run(self, run_id: str) -> None:
        """Remove a run and its evaluations."""
        with self._connection(writes=True) as connection:
            connection.execute(delete(runs).where(runs.c.id == run_id))

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _put(self, table: Table, values: Mapping[str, Any]) -> None:
        """Update the row of this id, or insert it. (To delete and insert would take the evaluations of a run along.)"""
        try:
            self._update_or_insert(table, values)
        except IntegrityError:  # another process inserted it in between, which only some databases let happen
            self._update_or_insert(table, values)

    def _update_or_insert(self, table: Table, values: Mapping[str, Any]) -> None:
        with self._connection(writes=True) as connection:
            changed = connection.execute(update(table).where(table.c.id == values["id"]).values(**values))
            if changed.rowcount == 0:
                connection.execute(insert(table).values(**values))

    @contextmanager
    def _connection(self, *, writes: bool = False) -> Iterator[Connection]:
        with self._explained(), self._engine.execution_options(writes=writes).begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            raise _explanation(self._shown, error) from error


def _parsed(url: str) -> URL:
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


def _explanation(shown: str, error: Exception) -> UserError:
    if isinstance(error, NoSuchModuleError):
        return UserError(f"there is no database called {shown.partition(':')[0]}", hint="sqlite and postgresql work")
    if isinstance(error, ModuleNotFoundError):
        return UserError(f"the index {shown} needs {error.name}", hint="for PostgreSQL: pip install 'mmcoa[postgres]'")
    reason = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
    hint = "see whether the server runs and lets you in"
    if shown.startswith("sqlite"):
        hint = "see whether the disk is full; if the file is damaged, move it away to begin a new one"
    return UserError(f"the index {shown} cannot be used: {reason}", hint=hint)


def _engine(url: URL) -> Engine:
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

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _migrate(engine: Engine) -> None:
    """Run the migrations that the database has not had yet."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        if _version(connection) == scripts.get_current_head():
            return
    if engine.dialect.name != "sqlite" or not engine.url.database:
        _upgrade(engine, config, scripts)
        return
    with lock(Path(engine.url.database), what="the index"):
        with engine.connect() as connection:
            _refuse_foreign(connection, scripts)
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")  # once: the file remembers it
        _upgrade(engine, config, scripts)


def _upgrade(engine: Engine, config: Config, scripts: ScriptDirectory) -> None:
    """One transaction: the new tables and their version number come together. Another process waits for it."""
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(20240419287)))
        _refuse_foreign(connection, scripts)
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.upgrade(config, "head")


def _refuse_foreign(connection: Connection, scripts: ScriptDirectory) -> None:
    """Raises UserError for a database of something else, or of a newer version."""
    name, version = connection.engine.url.database, _version(connection)
    if version is None and inspect(connection).get_table_names():
        raise UserError(f"the database {name} is not an index of mmcoa", hint="name another one, or an empty one")
    if version not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise UserError(f"the index {name} was written by a newer version of mmcoa", hint="upgrade mmcoa")


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
