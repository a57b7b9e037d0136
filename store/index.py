"""The index of results: which run was tested on what, and what came out. SQLite by default, any SQLAlchemy URL else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from .databases import explanation, new_engine, parsed_url
from .errors import UserError
from .files import lock
from .row_checks import check
from .schema import Evaluation, Run, evaluations, runs
from .upgrading import bring_up_to_date

TRIES = 10  # of a transaction that another process keeps from beginning; each waits `BUSY_SECONDS`
POLL_SECONDS = 0.005
Result = TypeVar("Result")
EXPLAINED = (SQLAlchemyError, sqlite3.Error, ModuleNotFoundError, ValueError, TypeError, OverflowError)


class Index:
    """The runs and evaluations of one store. Opening it brings its tables to the newest version.

    Raises UserError, here and in every method, when the database cannot be reached, is damaged, is not an index, holds
    what no index holds, or was written by a newer version. No message shows the password or the options of the URL.
    """

    def __init__(self, url: str) -> None:
        parsed = parsed_url(url)
        self._shown = parsed.set(query={}).render_as_string(hide_password=True)
        with self._explained():
            self._engine = new_engine(parsed)
            bring_up_to_date(self._engine)

    def save_run(self, run: Run) -> None:
        """Add the run, or replace the one of the same id. Raises UserError for values that no database would keep."""
        self._put(runs, asdict(run))

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Add the evaluation, or replace the one of the same id. Its run must be in the index."""
        self._put(evaluations, asdict(evaluation))

    def run(self, run_id: str) -> Run | None:
        rows = self._rows(runs, select(runs).where(runs.c.id == run_id))
        return Run(**rows[0]) if rows else None

    def evaluation(self, evaluation_id: str) -> Evaluation | None:
        rows = self._rows(evaluations, select(evaluations).where(evaluations.c.id == evaluation_id))
        return Evaluation(**rows[0]) if rows else None

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        return [Run(**row) for row in self._rows(runs, select(runs).order_by(runs.c.created_at, runs.c.id))]

    def evaluations(self) -> list[tuple[Run, Evaluation]]:
        """All evaluations with their runs, the oldest first."""
        found = self._rows(evaluations, select(evaluations).order_by(evaluations.c.created_at, evaluations.c.id))
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
        self._write(lambda connection: connection.execute(delete(runs).where(runs.c.id == run_id)))

    def _rows(self, table: Table, query: Select[Any]) -> list[dict[str, Any]]:
        def read(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(query).mappings()]

        with self._explained():
            rows = self._tried(read)
            for row in rows:
                check(table, row)
            return rows

    def _put(self, table: Table, values: Mapping[str, Any]) -> None:
        """Update the row of this id, or insert it. (To delete and insert would take the evaluations of a run along.)"""

        def update_or_insert(connection: Connection) -> None:
            changed = connection.execute(update(table).where(table.c.id == values["id"]).values(**values))
            if changed.rowcount == 0:
                connection.execute(insert(table).values(**values))

        try:
            check(table, values)
        except ValueError as error:
            raise UserError(
                f"the index cannot keep {error}", hint="take a shorter name, or a smaller number"
            ) from error
        try:
            self._write(update_or_insert)
        except IntegrityError:  # another process inserted it in between, which only some databases let happen
            self._write(update_or_insert)

    def _write(self, work: Callable[[Connection], object]) -> None:
        with self._explained(), self._turn():
            self._tried(work, writes=True)

    def _turn(self) -> AbstractContextManager[None]:
        """Writers of an SQLite file come one after another: under load SQLite may never give one of them its turn."""
        if self._engine.dialect.name != "sqlite" or not self._engine.url.database:
            return nullcontext()
        file = Path(self._engine.url.database)
        return lock(file, what="the index", on_wait=lambda: None, poll_seconds=POLL_SECONDS)

    def _tried(self, work: Callable[[Connection], Result], *, writes: bool = False) -> Result:
        """What `work` gives in a transaction of its own, begun again where another process was in the way."""
        for again in reversed(range(TRIES)):
            try:
                with self._engine.execution_options(writes=writes).begin() as connection:
                    return work(connection)
            except OperationalError as error:
                if not again or "locked" not in str(error.orig):
                    raise
        raise AssertionError  # the last try returns or raises

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except EXPLAINED as error:
            raise explanation(self._shown, error) from error
