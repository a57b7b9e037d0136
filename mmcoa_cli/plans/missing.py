"""What a report over a half-finished index lacks, which is left to do of its table's plan; and what made its results.

That plan is composed of what the index has: every run in the report and every model that a run started from, on the
table's datasets under the attacks that are shown, with the settings of their results (`indexed_runs.py`); and for every
training set the table's methods and shots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.errors import UserError

from .. import catalog
from ..catalog import TableRow
from ..datasets.library import dataset_path
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.job import Job, command_of, command_of_training
from ..jobs.training_spec import TrainSpec
from ..reports.rows import Row
from ..settings import Home
from ..terminal.typed import typed
from .cells import Settings, cells_of, tests_of
from .indexed_runs import Collection, Tested, settings_of
from .merging import merged

if TYPE_CHECKING:
    from store.schema import Run

MOST = 5  # lines below a table


@dataclass(frozen=True)
class Test:
    """Tests that one command makes. `run` is empty for a model that has no run in the index yet."""

    run: str
    spec: EvaluationSpec

    @property
    def command(self) -> str:
        return command_of(Job(evaluate=self.spec))


@dataclass(frozen=True)
class Lacking:
    """All that a report lacks, in the order in which it is filled."""

    datasets: tuple[str, ...] = ()  # not in the store
    tests: tuple[Test, ...] = ()
    unfinished: tuple[tuple[str, str], ...] = ()  # runs and their training sets
    ways: tuple[tuple[str, str], ...] = ()  # runs, and what makes the models on the way to each
    untrained: tuple[TrainSpec, ...] = ()
    tested_so: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)  # on each training set: how much

    def entries(self) -> list[dict[str, str]]:
        """One for each result, run or dataset, as JSON has them; what one of them does not concern is empty."""
        return [
            *(_entry("", name, "", self._fetch) for name in self.datasets),
            *(
                _entry(test.run, name, attack, test.command)
                for test in self.tests
                for name in test.spec.datasets
                for attack in test.spec.attacks
            ),
            *(_entry(run, source, "", _resume(run)) for run, source in self.unfinished),
            *(_entry(run, "", "", command) for run, command in self.ways),
            *(_entry("", spec.dataset, "", self._train(spec)) for spec in self.untrained),
        ]

    def lines(self) -> list[str]:
        """The same for people, a line for each command, at most `MOST`; none where nothing is missing."""
        fetch = [f"not in the store: {self._fetch}"] if self.datasets else []
        fetch += [f"not interpolated: {command}" for _, command in self.ways[:1]]
        resume = [f"not finished: {_resume(run)}" for run, _ in self.unfinished]
        evaluate = [f"not tested, {_many(test.spec)}: {test.command}" for test in self.tests]
        train = [f"not trained, {_runs(self.untrained)}: {self._train(spec)}" for spec in self.untrained[:1]]
        room = MOST - len(fetch) - len(resume[:1]) - len(train)
        more = len(evaluate[room:]) + len(resume[1:]) + len(self.ways[1:])
        rest = [f"and {more} more command{'s' if more > 1 else ''}, which --json lists"] if more else []
        found = [*fetch, *evaluate[:room], *resume[:1], *rest, *train]
        return ["What is missing, and what fills it:", *(f"  {line}" for line in found)] if found else []

    def _train(self, spec: TrainSpec) -> str:
        """With a test that is as large as those of other runs: it joins their results."""
        return command_of_training(spec, **self.tested_so.get(spec.dataset, {}))

    @property
    def _fetch(self) -> str:
        return typed("fetch", {}, names=self.datasets)


def lacking(
    runs: Sequence[Run], rows: Sequence[Row], *, table: TableRow, attacks: tuple[str, ...], home: Home
) -> Lacking:
    """What `rows`, the report of `table` under `attacks`, lack; `runs` are all of the index."""
    table = table.narrowed(attack=attacks)
    known = Collection(table, runs, rows)
    tests, untrained = _tests(known), [spec for source in known.sources for spec in known.untrained(source)]
    needed = {*(name for test in tests for name in test.spec.datasets), *(spec.dataset for spec in untrained)}
    in_order = [*(name for name in table.datasets if name in needed), *sorted(needed - set(table.datasets))]
    return Lacking(
        tuple(name for name in in_order if not _is_there(name, home)),
        tuple(tests),
        tuple((run.id, run.source) for run in runs if run.status != "complete" and run.source in known.sources),
        tuple((run.id, _interpolate(run, steps)) for run, steps in known.ways()),
        tuple(untrained),
        {source: known.size_of_tests(source) for source in dict.fromkeys(spec.dataset for spec in untrained)},
    )


def _tests(known: Collection) -> list[Test]:
    """What is left to test, in few commands."""
    todo: dict[EvaluationSpec, str] = {}
    for one in known.tested():
        for attack in known.table.attacks:
            own = known.table.narrowed(**one.axes, attack=(attack,))
            plain = not own.options and own.axis("epoch") == (None,)
            for rows in one.alike(attack, without=own.options):
                there = {row.dataset for row in rows if not row.earlier and not row.before_the_last}
                if plain and there >= {*own.datasets}:
                    continue  # as most are: a plan of each would take long
                for spec in _left(one.settings(attack, rows, without=own.options), one, own):
                    todo[spec] = one.found.id if one.found else ""
    ids = {spec.checkpoint: run for spec, run in todo.items()}
    return [Test(ids[spec.checkpoint], spec) for spec in merged(merged(todo), over="datasets")]


def _left(settings: Settings, tested: Tested, table: TableRow) -> Iterator[EvaluationSpec]:
    """The tests of this table that are not done."""
    cells = [own for cell in cells_of(table) if (own := tested.cell(cell))]
    try:
        tests = tests_of(settings, tested.checkpoint, cells)
    except UserError:  # the index has settings that make no sense
        tests = tests_of(Settings(), tested.checkpoint, cells)
    return filter(tested.lacks, tests)


def _entry(run: str, dataset: str, attack: str, command: str) -> dict[str, str]:
    return {"run": run, "dataset": dataset, "attack": attack, "command": command}


def _resume(run: str) -> str:
    return typed("train", {"resume": run})


def _interpolate(run: Run, steps: int) -> str:
    from .steps import Between  # few tables are about models between two

    return Between(run.model, run.id, steps).command


def _many(spec: EvaluationSpec) -> str:
    """ "mmcoa-imagenet-5shot-1234abcd on 3 datasets"."""
    several = len(spec.datasets) > 1
    return f"{spec.checkpoint} on {f'{len(spec.datasets)} datasets' if several else spec.datasets[0]}"


def _runs(untrained: Sequence[TrainSpec]) -> str:
    """ "tecoa at 1, 5; mmcoa at full"; of several training sets only how many."""
    if len(untrained) == 1:
        return f"{untrained[0].method} at {untrained[0].shots}"
    shots: dict[str, list[str]] = {}
    for run in untrained:
        shots.setdefault(run.method, []).append(run.shots)
    told = "; ".join(f"{method} at {', '.join(of)}" for method, of in shots.items())
    several = len({run.dataset for run in untrained}) > 1
    return f"{f'{len(untrained)} runs' if several else told} (the first of them)"


def _is_there(name: str, home: Home) -> bool:
    row = catalog.datasets().get(name)
    return (row is not None and row.embedded) or dataset_path(name, home).exists()


def made_by(rows: Sequence[Row]) -> list[str]:
    """What to type for these results; nothing for one that today's options do not make."""
    tests = [spec for row in rows for spec in _test_of(row)]
    return [command_of(Job(evaluate=spec)) for spec in merged(merged(tests), over="datasets")]


def _test_of(row: Row) -> Iterator[EvaluationSpec]:
    method, dataset = catalog.methods().get(row.method), catalog.datasets().get(row.dataset)
    checkpoint = row.run if row.source or (method and method.wrapper) else row.model
    other_size = dataset and row.pixel_size != dataset.pixel_size  # of one's own datasets the usual is not known
    where = {"task": row.task, "epoch": row.before_the_last, "pixel_size": row.pixel_size if other_size else None}
    try:
        yield evaluation_spec(checkpoint, (row.dataset,), (row.attack,), **where, **settings_of([row]))
    except UserError:  # an index from elsewhere
        return
