"""The index of results: which run was tested on what, and what came out. SQLite by default, any SQLAlchemy URL else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from .errors import UserError
from .files import lock
from .schema import Evaluation, Run, evaluations, runs

BUSY_SECONDS = 30


class Index:
    """The runs and evaluations of one store. Opening it brings its tables to the newest version.

    Raises UserError when the database cannot be reached, is damaged, or was written by a newer version.
    """

    def __init__(self, url: str) -> None:
        try:
            self._shown = make_url(url).render_as_string(hide_password=True)
            self._engine = _engine(url)
            _migrate(self._engine)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise UserError(f"MMCOA_DATABASE_URL cannot be used: {error}", hint="see SQLAlchemy's URLs") from None
        except (OperationalError, DatabaseError, CommandError) as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise UserError(
                f"the index {self._shown} cannot be opened: {reason}",
                hint="move it away to begin a new one, or upgrade mmcoa if a newer version wrote it",
            ) from error

    def save_run(self, run: Run) -> None:
        """Add the run, or replace the one of the same id."""
        with self._engine.begin() as connection:
            _put(connection, runs, asdict(run))

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Add the evaluation, or replace the one of the same id."""
        with self._engine.begin() as connection:
            _put(connection, evaluations, asdict(evaluation))

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
        by_id = {run.id: run for run in self.runs()}
        found = self._rows(select(evaluations).order_by(evaluations.c.created_at, evaluations.c.id))
        return [(by_id[row["run_id"]], Evaluation(**row)) for row in found]

    def find_run(self, beginning: str) -> Run:
        """The run whose id is or begins with `beginning`. Raises UserError when none or several do."""
        every = {run.id: run for run in self.runs()}
        if beginning in every:
            return every[beginning]
        found = [run_id for run_id in every if beginning and run_id.startswith(beginning)]
        if len(found) == 1:
            return every[found[0]]
        if found:
            raise UserError(f"{len(found)} runs begin with {beginning}", hint=f"type more of it: {', '.join(found[:5])}")
        close = get_close_matches(beginning, every, n=3, cutoff=0.3) or list(every)[-3:]
        hint = f"did you mean {' or '.join(close)}?" if close else "mmcoa train --method mmcoa makes one"
        raise UserError(f"there is no run or model called {beginning!r}", hint=hint)

    def remove_run(self, run_id: str) -> None:
        """Remove a run and its evaluations."""
        with self._engine.begin() as connection:
            connection.execute(delete(runs).where(runs.c.id == run_id))

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _put(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Update the row of this id, or insert it. (Deleting and inserting would take the evaluations of a run along.)"""
    changed = connection.execute(update(table).where(table.c.id == values["id"]).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(table).values(**values))


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name != "sqlite":
        return engine
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions itself, see below
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that a writer waits at the start, never in the middle

    return engine


def _migrate(engine: Engine) -> None:
    """Run the migrations that the database has not had yet, one transaction for each with its record."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    if _version(engine) == newest:
        return
    if engine.dialect.name == "sqlite" and engine.url.database:
        with lock(Path(engine.url.database), what="the index"):
            _upgrade(engine, config)
    else:
        _upgrade(engine, config)


def _upgrade(engine: Engine, config: Config) -> None:
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(engine: Engine) -> str | None:
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
