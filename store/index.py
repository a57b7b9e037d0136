"""The index of results: which run was tested on what, and what came out. SQLite by default, any SQLAlchemy URL else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Executable,
    Row,
    Table,
    delete,
    func,
    insert,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from . import schema
from .databases import bring_up_to_date, explanation, new_engine, parsed_url
from .errors import UserError
from .files import lock
from .near import near
from .row_checks import check_all, record_of, require, values_of
from .schema import Epoch, Link, Record, Result, Run

TRIES = 10  # of a transaction that another process keeps from beginning; each waits `BUSY_SECONDS`
POLL_SECONDS = 0.005
AT_ONCE = 1000  # rows
REPLACE = ("sqlite", "postgresql")  # the databases that replace rows in one statement
Found = TypeVar("Found")
EXPLAINED = (SQLAlchemyError, sqlite3.Error, ModuleNotFoundError, ValueError, TypeError, OverflowError)
_RUN, _RESULT, _EPOCH = schema.runs.c, schema.results.c, schema.epochs.c


class Index:
    """The runs and results of one store. Opening it brings its tables to the newest version.

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
        self._save(schema.runs, [run])

    def save_results(self, results: Sequence[Result]) -> None:
        """Add evaluations, whole or not at all; each in place of the one of the same id. Their runs must be there."""
        ids = sorted({result.evaluation for result in results})
        self._save(schema.results, results, instead_of=_RESULT.evaluation.in_(ids))

    def save_epoch(self, epoch: Epoch) -> None:
        """Add an epoch of a run, which must be there; in place of the one of the same number."""
        self._save(schema.epochs, [epoch])

    def remove_run(self, run_id: str) -> None:
        """Remove a run, its epochs and its results."""
        self._write(lambda connection: connection.execute(delete(schema.runs).where(_RUN.id == run_id)))

    def remove_results(self, evaluations: Iterable[str]) -> None:
        """Remove evaluations."""
        ids = sorted(set(evaluations))
        self._write(lambda connection: connection.execute(delete(schema.results).where(_RESULT.evaluation.in_(ids))))

    def links(self) -> list[Link]:
        """Each evaluation once, with what it is of."""
        columns = [_RESULT[name] for name in Link._fields]
        return [Link(*list(row)) for row in self._rows(schema.results, select(*columns).distinct().order_by(*columns))]

    def run(self, run_id: str) -> Run | None:
        return next(iter(self._runs(_RUN.id == run_id)), None)

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        return self._runs()

    def epochs(self, run_id: str) -> list[Epoch]:
        """The epochs of a run whose time was taken, the first one first."""
        query = select(schema.epochs).where(_EPOCH.run_id == run_id).order_by(_EPOCH.epoch)
        return [record_of(Epoch, row) for row in self._rows(schema.epochs, query)]

    def epoch_seconds(self) -> dict[str, float]:
        """What the epochs of each run took together, of those whose time was taken."""
        found: dict[str, float] = {}
        query = select(_EPOCH.run_id, _EPOCH.seconds).order_by(_EPOCH.run_id, _EPOCH.epoch)
        for run_id, seconds in map(list, self._rows(schema.epochs, query)):
            found[run_id] = found.get(run_id, 0.0) + seconds
        return found

    def find_run(
        self,
        beginning: str,
        *,
        otherwise: str = "",
        others: Iterable[str] = (),
        kinds: Iterable[str] = (),
        instead: str = "",
    ) -> Run:
        """The run whose id is or begins with `beginning`.

        Raises UserError when none or several do. Its hint names what may be meant: runs, those of these `kinds` if any
        are named, and `others` that could be typed as well; `otherwise` is the hint where there is nothing to name,
        and `instead`, if any, the hint whatever there is.
        """
        rows = self._rows(schema.runs, select(_RUN.id, _RUN.kind).order_by(_RUN.created_at, _RUN.id))
        ids = [str(row.id) for row in rows]
        found = [one for one in ids if one == beginning] or [
            one for one in ids if beginning and one.startswith(beginning)
        ]
        run = self.run(found[0]) if len(found) == 1 else None
        if run:
            return run
        if found:
            raise UserError(f"{len(found)} runs begin with {beginning!r}", hint=f"type more: {', '.join(found[:5])}")
        fitting = [str(row.id) for row in rows if not kinds or row.kind in kinds]
        close = near(beginning, (*fitting, *others)) or fitting[-3:]
        hint = instead or (f"did you mean {' or '.join(close)}?" if close else otherwise)
        raise UserError(f"there is no run or model called {beginning!r}", hint=hint)

    def evaluation(self, evaluation: str) -> list[Result]:
        """The results of one evaluation; none where it is not there."""
        return [result for _, result in self.results(evaluations=[evaluation])]

    def results(
        self,
        *,
        evaluations: Iterable[str] | None = None,
        runs: Iterable[str] | None = None,
        tasks: Iterable[str] | None = None,
        attacks: Iterable[str] | None = None,
        datasets: Iterable[str] | None = None,
        examples: Iterable[str] | None = None,
        own: bool = False,
    ) -> list[tuple[Run, Result]]:
        """The results of all these with their runs, the oldest first; None stands for any.

        `own` results are on what the run was trained on, or of a run that was trained on nothing.
        """
        wanted = {
            _RESULT.evaluation: evaluations, _RESULT.run_id: runs, _RESULT.task: tasks, _RESULT.attack: attacks,
            _RESULT.dataset: datasets, _RESULT.examples: examples,
        }  # fmt: skip
        chosen = [column.in_(list(values)) for column, values in wanted.items() if values is not None]
        rows = self._rows(schema.results, _of_own(chosen) if own else select(schema.results).where(*chosen))
        by_id = self._runs_of({row.run_id for row in rows})  # read last, so that they are all there
        found = [(by_id[row.run_id], record_of(Result, row)) for row in rows if row.run_id in by_id]
        return sorted(found, key=lambda one: (one[1].created_at, one[1].evaluation, one[1].metric))

    def newest(self, *, datasets: Collection[str] = (), besides: Collection[str] = ()) -> list[Result]:
        """The newest result of each run on each of the `datasets` under each attack by each metric, the oldest first;
        without any dataset named, the `own` ones. The metrics `besides` are left out."""
        chosen = [_RESULT.metric.not_in(besides)]
        every = select(schema.results).where(*chosen, _RESULT.dataset.in_(datasets)) if datasets else _of_own(chosen)
        found = every.subquery()
        column, names = found.c, list(_RESULT.keys())
        place = func.row_number().over(
            partition_by=[column.run_id, column.dataset, column.attack, column.metric],
            order_by=[column.created_at.desc(), column.evaluation.desc()],
        )
        ranked = select(found, place.label("place")).subquery()
        query = select(*(ranked.c[name] for name in names)).where(ranked.c.place == 1)
        results = [record_of(Result, row) for row in self._rows(schema.results, query)]
        return sorted(results, key=attrgetter("created_at", "evaluation", "metric"))

    def counts(self) -> tuple[int, int]:
        """How many runs there are, and how many evaluations."""

        def read(connection: Connection) -> tuple[int, int]:
            runs = connection.scalar(select(func.count(_RUN.id)))
            return runs or 0, connection.scalar(select(func.count(_RESULT.evaluation.distinct()))) or 0

        with self._explained():
            return self._tried(read)

    def verify(self) -> None:
        """Read every row. Raises UserError for the first that cannot be."""

        def look(connection: Connection) -> None:
            for table in (schema.runs, schema.results, schema.epochs):
                read = connection.execution_options(yield_per=AT_ONCE).execute(select(table))
                for rows in read.partitions():
                    check_all(table, read.keys(), rows)

        with self._explained():
            self._tried(look)

    def _runs(self, *chosen: ColumnElement[bool]) -> list[Run]:
        query = select(schema.runs).where(*chosen).order_by(_RUN.created_at, _RUN.id)
        return [record_of(Run, row) for row in self._rows(schema.runs, query)]

    def _runs_of(self, ids: set[str]) -> dict[str, Run]:
        chosen = [_RUN.id.in_(sorted(ids))] if len(ids) < AT_ONCE else []  # no database takes names without end
        return {run.id: run for run in self._runs(*chosen)}

    def _rows(self, table: Table, query: Executable) -> list[Row[Any]]:
        def read(connection: Connection) -> list[Row[Any]]:
            found = connection.execute(query)
            rows = list(found.all())
            check_all(table, found.keys(), rows)
            return rows

        with self._explained():
            return self._tried(read)

    def _save(self, table: Table, rows: Sequence[Record], *, instead_of: ColumnElement[bool] | None = None) -> None:
        """Add rows, whole or not at all; each in place of the one of the same key, and all in place of some others.
        Raises UserError for values that no database would keep."""
        values = [values_of(row) for row in rows]
        for one in values:
            require(table, one)

        def put(connection: Connection) -> None:
            if instead_of is not None:
                connection.execute(delete(table).where(instead_of))
            if connection.dialect.name in REPLACE:
                connection.execute(_put_into(table, connection.dialect.name), values)
            else:
                _put_each(connection, table, values)

        if values:
            self._write(put)

    def _write(self, work: Callable[[Connection], object]) -> None:
        with self._explained(), self._turn():
            self._tried(work, writes=True)

    def _turn(self) -> AbstractContextManager[None]:
        """Writers of an SQLite file come one after another: under load SQLite may never give one of them its turn."""
        if self._engine.dialect.name != "sqlite" or not self._engine.url.database:
            return nullcontext()
        file = Path(self._engine.url.database)
        return lock(file, what="the index", on_wait=lambda: None, poll_seconds=POLL_SECONDS)

    def _tried(self, work: Callable[[Connection], Found], *, writes: bool = False) -> Found:
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
        except EXPLAINED as error:
            raise explanation(self._shown, error) from error


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


def _of_own(chosen: Sequence[ColumnElement[bool]]) -> CompoundSelect[Any]:
    """Results on what the run was trained on, and of runs that were trained on nothing: in two parts, which databases
    find by their index rather than by looking at every row."""
    query = select(schema.results).where(*chosen)
    trained = tuple_(_RESULT.run_id, _RESULT.dataset).in_(select(_RUN.id, _RUN.source).where(_RUN.source != ""))
    return union_all(query.where(trained), query.where(_RESULT.run_id.in_(select(_RUN.id).where(_RUN.source == ""))))
