"""The index of results: which run was tested on what, and what came out. SQLite by default, any SQLAlchemy URL else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from . import sqlite_file
from .errors import UserError
from .near import near
from .row_checks import check_all, record_of, row_of
from .schema import COLUMNS, TABLES, Epoch, Link, Record, Result, Run, Value
from .sqlite_file import AT_ONCE, Rows

if TYPE_CHECKING:
    from .databases import Database

TRIES = 10  # of a transaction that another process keeps from beginning; each waits `sqlite_file.BUSY_SECONDS`
OWN = (  # in two parts, which databases find by their index rather than by looking at every row
    "(run_id, dataset) IN (SELECT id, source FROM runs WHERE source <> '')",
    "run_id IN (SELECT id FROM runs WHERE source = '')",
)
COUNTS = "SELECT (SELECT count(*) FROM runs), (SELECT count(DISTINCT evaluation) FROM results)"
NEWEST = """
SELECT {names} FROM (SELECT *, row_number() OVER (
    PARTITION BY run_id, dataset, attack, metric ORDER BY created_at DESC, evaluation DESC
) AS place FROM ({every}) AS every_one) AS ranked WHERE place = 1
"""
Found = TypeVar("Found")


class Index:
    """The runs and results of one store. Opening it brings its tables to the newest version.

    Raises UserError, here and in every method, when the database cannot be reached, is damaged, is not an index, holds
    what no index holds, or was written by a newer version. No message shows the password or the options of the URL.
    """

    def __init__(self, url: str) -> None:
        self._url, self._file = url, sqlite_file.file_of(url)
        with self._explained():
            if self._file is None or not sqlite_file.is_newest(self._file):
                self._database  # noqa: B018  # opens it

    @cached_property
    def _database(self) -> Database:
        """To write to it, and to read from what is no file of SQLite."""
        from .databases import Database

        return Database(self._url)

    def save_run(self, run: Run) -> None:
        """Add the run, or replace the one of the same id. Raises UserError for values that no database would keep."""
        self._save(Run, [run])

    def save_results(self, results: Sequence[Result]) -> None:
        """Add evaluations, whole or not at all; each in place of the one of the same id. Their runs must be there."""
        self._save(Result, results, instead_of=sorted({result.evaluation for result in results}))

    def save_epoch(self, epoch: Epoch) -> None:
        """Add an epoch of a run, which must be there; in place of the one of the same number."""
        self._save(Epoch, [epoch])

    def remove_run(self, run_id: str) -> None:
        """Remove a run, its epochs and its results."""
        self._tried(lambda: self._database.remove(Run, "id", [run_id]))

    def remove_results(self, evaluations: Iterable[str]) -> None:
        """Remove evaluations."""
        ids = sorted(set(evaluations))
        self._tried(lambda: self._database.remove(Result, "evaluation", ids))

    def links(self) -> list[Link]:
        """Each evaluation once, with what it is of."""
        names = ", ".join(Link._fields)
        query = f"SELECT DISTINCT {names} FROM results ORDER BY {names}"
        return [Link(*row) for row in self._rows(Result, query, names=Link._fields)]

    def tests(self) -> list[tuple[str, str, int]]:
        """Of each run on each dataset it was tested on how many evaluations there are; no row is read for that."""
        names = ("run_id", "dataset", "n")
        query = "SELECT run_id, dataset, count(DISTINCT evaluation) FROM results GROUP BY run_id, dataset"
        return [(run, dataset, n) for run, dataset, n in self._rows(Result, query, names=names)]

    def run(self, run_id: str) -> Run | None:
        return next(iter(self._runs([run_id])), None)

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        return self._runs()

    def epochs(self, run_id: str) -> list[Epoch]:
        """The epochs of a run whose time was taken, the first one first."""
        return self._records(Epoch, "WHERE run_id = :run ORDER BY epoch", {"run": run_id})

    def epoch_seconds(self) -> dict[str, float]:
        """What the epochs of each run took together, of those whose time was taken."""
        found: dict[str, float] = {}
        query = "SELECT run_id, seconds FROM epochs ORDER BY run_id, epoch"
        for run_id, seconds in self._rows(Epoch, query, names=("run_id", "seconds")):
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
        rows = self._rows(Run, "SELECT id, kind FROM runs ORDER BY created_at, id", names=("id", "kind"))
        ids = [str(one) for one, _ in rows]
        found = [one for one in ids if one == beginning] or [
            one for one in ids if beginning and one.startswith(beginning)
        ]
        run = self.run(found[0]) if len(found) == 1 else None
        if run:
            return run
        if found:
            raise UserError(f"{len(found)} runs begin with {beginning!r}", hint=f"type more: {', '.join(found[:5])}")
        fitting = [str(one) for one, kind in rows if not kinds or kind in kinds]
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
        besides: Collection[str] = (),
    ) -> list[tuple[Run, Result]]:
        """The results of all these with their runs, the oldest first; None stands for any.

        `own` results are on what the run was trained on, or of a run that was trained on nothing. The metrics `besides`
        are left out.
        """
        chosen = {
            "evaluation": evaluations, "run_id": runs, "task": tasks, "attack": attacks, "dataset": datasets,
            "examples": examples,
        }  # fmt: skip
        where, values = _where(chosen, besides)
        found = self._records(Result, "", values, query=_every(where, own=own))
        found.sort(key=attrgetter("created_at", "evaluation", "metric"))
        by_id = self._runs_of({result.run_id for result in found})  # read last, so that they are all there
        return [(by_id[result.run_id], result) for result in found if result.run_id in by_id]

    def values(
        self,
        metrics: Iterable[str],
        *,
        tasks: Iterable[str] | None = None,
        attacks: Iterable[str] | None = None,
        own: bool = False,
    ) -> list[Value]:
        """Of the same results what these metrics are, and no more: there may be several for each result of a table."""
        where, values = _where({"metric": metrics, "task": tasks, "attack": attacks})
        query = _every(where, own=own, names=", ".join(Value._fields))
        return [Value(*row) for row in self._rows(Result, query, values, names=Value._fields)]

    def newest(self, *, datasets: Collection[str] = (), besides: Collection[str] = ()) -> list[Result]:
        """The newest result of each run on each of the `datasets` under each attack by each metric, the oldest first;
        without any dataset named, the `own` ones. The metrics `besides` are left out."""
        where, values = _where({"dataset": datasets or None}, besides)
        query = NEWEST.format(names=_names(Result), every=_every(where, own=not datasets))
        results = self._records(Result, "", values, query=query)
        return sorted(results, key=attrgetter("created_at", "evaluation", "metric"))

    def counts(self) -> tuple[int, int]:
        """How many runs there are, and how many evaluations."""
        ((runs, evaluations),) = self._tried(lambda: [row for page in self._pages(COUNTS, {}) for row in page])
        return runs, evaluations

    def verify(self) -> None:
        """Read every row. Raises UserError for the first that cannot be."""
        for kind in (Run, Result, Epoch):
            self._tried(partial(self._look_at, kind))

    def _look_at(self, kind: type[Any]) -> None:
        for rows in self._pages(f"SELECT {_names(kind)} FROM {TABLES[kind]}", {}):
            check_all(kind, (column.name for column in COLUMNS[kind]), rows)

    def _runs(self, ids: Collection[str] | None = None) -> list[Run]:
        """Those of these ids, None for all, the oldest first."""
        where, values = _where({"id": ids})
        return self._records(Run, f"{_and(where)} ORDER BY created_at, id", values)

    def _runs_of(self, ids: set[str]) -> dict[str, Run]:
        few = sorted(ids) if len(ids) < AT_ONCE else None  # no database takes names without end
        return {run.id: run for run in self._runs(few)}

    def _records(
        self, kind: type[Found], which: str, values: Mapping[str, Any] | None = None, *, query: str = ""
    ) -> list[Found]:
        """The records of a table, those `which`; or of a `query` of all its columns."""
        query = query or f"SELECT {_names(kind)} FROM {TABLES[kind]} {which}"
        names = [column.name for column in COLUMNS[kind]]
        return [record_of(kind, row) for row in self._rows(kind, query, values, names=names)]

    def _rows(
        self, kind: type[Any], query: str, values: Mapping[str, Any] | None = None, *, names: Sequence[str]
    ) -> list[Sequence[Any]]:
        """What a query finds in a record's table, of which `names` are the columns. It is none that cannot be."""

        def read() -> list[Sequence[Any]]:
            rows = [row for page in self._pages(query, values or {}) for row in page]
            check_all(kind, names, rows)
            return rows

        return self._tried(read)

    def _pages(self, query: str, values: Mapping[str, Any]) -> Iterator[Rows]:
        if self._file is not None:
            return sqlite_file.pages(self._file, query, values)
        return self._database.pages(query, values)

    def _save(self, kind: type[Any], rows: Sequence[Record], *, instead_of: Sequence[str] = ()) -> None:
        """Add rows, whole or not at all; each in place of the one of the same key, and all in place of some
        evaluations. Raises UserError for values that no database would keep."""
        values = [row_of(row) for row in rows]
        if values:
            self._tried(lambda: self._database.put(kind, values, instead_of=instead_of))

    def _tried(self, work: Callable[[], Found]) -> Found:
        """What `work` gives in a transaction of its own, begun again where another process was in the way."""
        with self._explained():
            for again in reversed(range(TRIES)):
                try:
                    return work()
                except Exception as error:
                    if not again or not _is_in_the_way(error):
                        raise
        raise AssertionError  # the last try returns or raises

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            from .databases import explained

            told = explained(self._url, error)
            if told is error:
                raise
            raise told from error


def _is_in_the_way(error: Exception) -> bool:
    """Whether another process kept a transaction from beginning, in the driver's words."""
    reason = getattr(error, "orig", error)
    return isinstance(reason, sqlite3.OperationalError) and "locked" in str(reason)


def _names(kind: type[Any]) -> str:
    return ", ".join(column.name for column in COLUMNS[kind])


def _where(
    chosen: Mapping[str, Iterable[str] | None], besides: Collection[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """For each column a condition that its value is one of these (None: any), and one that the metric is none of those
    `besides`; with the values by the names that stand for them."""
    every = [(name, "IN", [*of]) for name, of in chosen.items() if of is not None]
    every += [("metric", "NOT IN", [*besides])] if besides else []
    conditions, values = [], dict[str, str]()
    for name, word, of in every:
        marked = {f"{name}_{len(values) + place}": value for place, value in enumerate(of)}
        conditions.append(f"{name} {word} ({', '.join(f':{mark}' for mark in marked)})" if marked else "1 = 0")
        values |= marked
    return conditions, values


def _and(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _every(conditions: Sequence[str], *, own: bool, names: str = "") -> str:
    """All results that fulfil these; the `own` ones are on what the run was trained on, or of a run that was trained
    on nothing."""
    parts = [[*conditions, part] for part in OWN] if own else [conditions]
    return " UNION ALL ".join(f"SELECT {names or _names(Result)} FROM results {_and(part)}" for part in parts)
