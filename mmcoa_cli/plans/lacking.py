"""What a report over a half-finished index lacks: what is left to do of its table's plan.

That plan is for the models, the training sets and the settings that the index has: every run in the report and every
model that a run started from, on the table's datasets under the attacks that are shown; and for every training set the
table's methods and shots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import options_of
from ..catalog import TableRow
from ..datasets.library import dataset_path
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after, evaluation_spec
from ..jobs.training_spec import TrainSpec, stored_spec
from ..jobs.typed_jobs import command_of, command_of_training
from ..jobs.worker import Job
from ..reports.lines import grouped
from ..reports.rows import Row
from ..settings import Home
from ..terminal.typed import typed
from .likeness import in_common, merged, settings_of

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
    untrained: tuple[TrainSpec, ...] = ()

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
            *(_entry("", spec.dataset, "", command_of_training(spec)) for spec in self.untrained),
        ]

    def lines(self) -> list[str]:
        """The same for people, a line for each command, at most `MOST`; none where nothing is missing."""
        fetch = [f"not in the store: {self._fetch}"] if self.datasets else []
        resume = [f"not finished: {_resume(run)}" for run, _ in self.unfinished]
        evaluate = [f"not tested, {_many(test.spec)}: {test.command}" for test in self.tests]
        room = MOST - len(fetch) - len(resume[:1]) - bool(self.untrained)
        more = len(evaluate[room:]) + len(resume[1:])
        train = (
            [f"not trained, {_runs(self.untrained)}: {command_of_training(self.untrained[0])}"]
            if self.untrained
            else []
        )
        rest = [f"and {more} more command{'s' if more > 1 else ''}, which --json lists"] if more else []
        found = [*fetch, *evaluate[:room], *resume[:1], *rest, *train]
        return ["What is missing, and what fills it:", *(f"  {line}" for line in found)] if found else []

    @property
    def _fetch(self) -> str:
        return typed("fetch", {}, names=self.datasets)


def lacking(
    runs: Sequence[Run], rows: Sequence[Row], *, table: TableRow, attacks: tuple[str, ...], home: Home
) -> Lacking:
    """What `rows`, the report of `table` under `attacks`, lack; `runs` are all of the index."""
    if table.on_source:
        sources = [name for name in table.datasets if any(row.dataset == name for row in rows)]
    else:
        sources = sorted({row.source for row in rows if row.source}) or list(table.sources)
    tests = [*_tests(rows, runs, table, attacks), *_models(rows, table, attacks)]
    tests += _runs_without(rows, runs, sources, table, attacks)
    untrained = [spec for source in sources for spec in _untrained(runs, rows, table, source)]
    needed = {*(name for test in tests for name in test.spec.datasets), *(spec.dataset for spec in untrained)}
    in_order = [*(name for name in table.datasets if name in needed), *sorted(needed - set(table.datasets))]
    return Lacking(
        tuple(name for name in in_order if not _is_there(name, home)),
        tuple(Test(run, spec) for run, spec in merged([(test.run, test.spec) for test in tests])),
        tuple((run.id, run.source) for run in runs if run.status != "complete" and run.source in sources),
        tuple(untrained),
    )


def _tests(rows: Sequence[Row], runs: Sequence[Run], table: TableRow, attacks: tuple[str, ...]) -> Iterator[Test]:
    """Of each run, for every attack and its settings, the datasets that it was not tested on."""
    by_id = {run.id: run for run in runs}

    def alike(row: Row) -> tuple[Any, ...]:
        return (row.run, row.dataset if table.on_source else "", row.compat, row.precision, row.seed)

    for group in grouped(rows, alike):
        expected = (group[0].dataset,) if table.on_source else table.datasets
        usual = {**_after_training(by_id.get(group[0].run)), **settings_of(group)}
        for attack, wanted in _asked(table, attacks):
            own = [row for row in group if row.attack == attack and wanted.items() <= settings_of([row]).items()]
            for same in grouped(own, lambda row: tuple(settings_of([row], limit=False).items())) or [[]]:
                there = {row.dataset for row in same if not row.earlier}
                names = tuple(name for name in expected if name not in there)
                settings = {**(settings_of(same) if same else usual), **wanted}
                yield from _test(group[0].run, _checkpoint(group[0]), names, (attack,), settings)


def _models(rows: Sequence[Row], table: TableRow, attacks: tuple[str, ...]) -> Iterator[Test]:
    """Models that runs started from, and that have no result of their own."""
    here = [row for row in rows if not table.on_source or row.dataset in table.datasets]
    for group in grouped(here, lambda row: (row.model, row.dataset if table.on_source else "")):
        if all(row.source or row.earlier for row in group) and any(row.source for row in group):
            expected = (group[0].dataset,) if table.on_source else table.datasets
            yield from _test("", group[0].model, expected, attacks, settings_of(group))


def _runs_without(
    rows: Sequence[Row], runs: Sequence[Run], sources: list[str], table: TableRow, attacks: tuple[str, ...]
) -> Iterator[Test]:
    """Finished runs without any result."""
    there = {row.run for row in rows}
    for run in runs:
        if run.kind == "train" and run.status == "complete" and run.source in sources and run.id not in there:
            expected = (run.source,) if table.on_source else table.datasets
            yield from _test(run.id, run.id, expected, attacks, _after_training(run))


def _test(
    run: str, checkpoint: str, datasets: tuple[str, ...], attacks: tuple[str, ...], settings: dict[str, Any]
) -> Iterator[Test]:
    if not datasets:
        return
    try:
        yield Test(run, evaluation_spec(checkpoint, datasets, attacks, **settings))
    except UserError:  # the index has settings that make no sense
        yield Test(run, evaluation_spec(checkpoint, datasets, attacks))


def _asked(table: TableRow, attacks: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each attack with the settings that the table's grid asks for; those of which it says nothing are the index's."""
    cells = table.narrowed(attack=attacks).cells({name: options_of([name]) for name in attacks})
    for attack, options in dict.fromkeys((cell.attack, cell.options) for cell in cells):
        yield attack, dict(options)


def _untrained(runs: Sequence[Run], rows: Sequence[Row], table: TableRow, source: str) -> Iterator[TrainSpec]:
    """The methods and shots of the table that no model in the report was trained with on `source`."""
    for model in dict.fromkeys(row.model for row in rows if row.source == source) or [row.model for row in rows[:1]]:
        like = [run for run in runs if (run.kind, run.model, run.source) == ("train", model, source)]
        there = {(run.method, run.shots) for run in like}
        own_shots = tuple(dict.fromkeys(run.shots for run in like)) if table.on_source else ()
        for shots in own_shots or table.shots:
            for method in table.methods:
                if catalog.methods()[method].loss and (method, shots) not in there:
                    yield in_common(like, method, dataset=source, shots=shots, model=model)


def _after_training(run: Run | None) -> dict[str, Any]:
    """The settings that `mmcoa train` itself tests a run with; none where its own make no sense."""
    try:
        after = evaluation_after(stored_spec(run.method, run.spec)) if run and run.kind == "train" else None
    except UserError:
        return {}
    if after is None:
        return {}
    return {**{name: getattr(after, name) for name in ("mlm", "seed", "precision", "compat")}, **after.options}


def _checkpoint(row: Row) -> str:
    """A model as it comes is named by its own name, one with something around it by its row among the runs."""
    method = catalog.methods().get(row.method)
    return row.run if row.source or (method and method.wrapper) else row.model


def _entry(run: str, dataset: str, attack: str, command: str) -> dict[str, str]:
    return {"run": run, "dataset": dataset, "attack": attack, "command": command}


def _resume(run: str) -> str:
    return typed("train", {"resume": run})


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
