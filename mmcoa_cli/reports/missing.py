"""What a report over a half-finished index lacks: datasets, evaluations, and runs that the paper has.

Expected are, for every run and model in the report, the task's datasets under the attacks that are shown, and for every
training set the paper's methods and shots. `gaps.py` words the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import UserError

from .. import catalog
from ..datasets.fetching import dataset_path
from ..jobs.specs import TrainSpec, evaluation_after, options_in
from ..jobs.used import IMAGE, TEXT
from ..settings import Home
from ..terminal.typed import typed
from .gaps import Gap, gap, merged, settings_of, training_command
from .lines import grouped
from .rows import Row

if TYPE_CHECKING:
    from store.schema import Run

MOST = 5  # lines below a table


@dataclass(frozen=True)
class Untrained:
    """A run of the paper that the index does not have, and the command that makes it."""

    method: str
    shots: str
    source: str
    command: str


@dataclass(frozen=True)
class Missing:
    """All that a report lacks, in the order in which it is filled."""

    datasets: tuple[str, ...] = ()  # not in the store
    gaps: tuple[Gap, ...] = ()
    unfinished: tuple[tuple[str, str], ...] = ()  # runs and their training sets
    untrained: tuple[Untrained, ...] = ()

    def entries(self) -> list[dict[str, str]]:
        """One for each result, run or dataset, as JSON has them; what one of them does not concern is empty."""
        fetch = typed("fetch", {}, names=self.datasets)
        return [
            *(_entry("", name, "", fetch) for name in self.datasets),
            *(_entry(g.run, name, attack, g.command) for g in self.gaps for name in g.datasets for attack in g.attacks),
            *(_entry(run, source, "", typed("train", {"resume": run})) for run, source in self.unfinished),
            *(_entry("", run.source, "", run.command) for run in self.untrained),
        ]

    def lines(self) -> list[str]:
        """The same for people, a line for each command, at most `MOST`; none where nothing is missing."""
        fetch = [f"not in the store: {typed('fetch', {}, names=self.datasets)}"] if self.datasets else []
        resume = [f"not finished: {typed('train', {'resume': run})}" for run, _ in self.unfinished]
        evaluate = [f"not tested, {_many(g)}: {g.command}" for g in self.gaps]
        room = MOST - len(fetch) - len(resume[:1]) - bool(self.untrained)
        more = len(evaluate[room:]) + len(resume[1:])
        train = [f"not trained, {_runs(self.untrained)}: {self.untrained[0].command}"] if self.untrained else []
        rest = [f"and {more} more command{'s' if more > 1 else ''}, which --json lists"] if more else []
        found = [*fetch, *evaluate[:room], *resume[:1], *rest, *train]
        return ["What is missing, and what fills it:", *(f"  {line}" for line in found)] if found else []


def missing(
    runs: Sequence[Run], rows: Sequence[Row], *, task: catalog.TableRow, attacks: tuple[str, ...], home: Home
) -> Missing:
    """What `rows`, the report of `task` under `attacks`, lack; `runs` are all of the index."""
    if task.on_source:
        trained_on = [name for name in task.datasets if any(row.dataset == name for row in rows)]
        gaps = _attacks_lacking(rows, task, attacks)
    else:
        trained_on = sorted({row.source for row in rows if row.source}) or list(task.sources)
        gaps = [*_datasets_lacking(rows, task), *_untested(runs, rows, task, attacks, trained_on)]
    untrained = [run for source in trained_on for run in _untrained(runs, rows, task, source)]
    needed = {*(name for g in gaps for name in g.datasets), *(run.source for run in untrained)}
    in_order = [*(name for name in task.datasets if name in needed), *sorted(needed - set(task.datasets))]
    return Missing(
        tuple(name for name in in_order if not _is_there(name, home)),
        tuple(merged(gaps)),
        tuple((run.id, run.source) for run in runs if run.status != "complete" and run.source in trained_on),
        tuple(untrained),
    )


def _entry(run: str, dataset: str, attack: str, command: str) -> dict[str, str]:
    return {"run": run, "dataset": dataset, "attack": attack, "command": command}


def _many(found: Gap) -> str:
    """ "mmcoa-imagenet-5shot-1234abcd on 3 datasets"."""
    several = len(found.datasets) > 1
    return f"{found.checkpoint} on {f'{len(found.datasets)} datasets' if several else found.datasets[0]}"


def _runs(untrained: Sequence[Untrained]) -> str:
    """ "tecoa at 1, 5; mmcoa at full"; of several training sets only how many."""
    if len(untrained) == 1:
        return f"{untrained[0].method} at {untrained[0].shots}"
    shots: dict[str, list[str]] = {}
    for run in untrained:
        shots.setdefault(run.method, []).append(run.shots)
    told = "; ".join(f"{method} at {', '.join(of)}" for method, of in shots.items())
    several = len({run.source for run in untrained}) > 1
    return f"{f'{len(untrained)} runs' if several else told} (the first of them)"


def _is_there(name: str, home: Home) -> bool:
    row = catalog.datasets().get(name)
    return (row is not None and row.embedded) or dataset_path(name, home).exists()


def _datasets_lacking(rows: Sequence[Row], task: catalog.TableRow) -> list[Gap]:
    """For each run, attack and threat model the task's datasets that it was not tested on."""

    def alike(row: Row) -> tuple[object, ...]:
        threat = tuple(
            row.get(name) for name in (*IMAGE, *TEXT, "max_words_changed")
        )  # by whatever version of its code
        return (row.run, row.attack, row.compat, row.precision, row.seed, threat)

    found = []
    for group in grouped(rows, alike):
        there = {row.dataset for row in group if not row.earlier}
        lacking = [name for name in task.datasets if name not in there]
        if lacking:
            found.append(gap(group[0], lacking, [group[0].attack], settings_of(group)))
    return found


def _untested(
    runs: Sequence[Run], rows: Sequence[Row], task: catalog.TableRow, attacks: tuple[str, ...], trained_on: list[str]
) -> list[Gap]:
    """Finished runs, and the models that they started from, without any result under an attack."""
    tested = {(row.run, row.attack) for row in rows if not row.earlier}
    zero_shot = {(row.model, row.attack) for row in rows if not (row.source or row.earlier)}
    found = []
    for run in runs:
        if run.kind == "train" and run.status == "complete" and run.source in trained_on:
            lacking = [attack for attack in attacks if (run.id, attack) not in tested]
            if lacking:
                found.append(Gap(run.id, run.id, task.datasets, tuple(lacking), _after_training(run)))
    for group in grouped([row for row in rows if row.source], lambda row: (row.model,)):
        lacking = [attack for attack in attacks if (group[0].model, attack) not in zero_shot]
        if lacking:
            found.insert(0, Gap("", group[0].model, task.datasets, tuple(lacking), settings_of(group)))
    return found


def _after_training(run: Run) -> dict[str, object]:
    """The settings that `mmcoa train` itself would have tested the run with; none where its own make no sense."""
    try:
        after = evaluation_after(TrainSpec(**{"method": run.method, **options_in(run.spec, TrainSpec)}))
    except UserError:
        return {}
    names = ("mlm", "eps", "alpha", "seed", "precision", "compat")
    return {name: getattr(after, name) for name in names}


def _attacks_lacking(rows: Sequence[Row], task: catalog.TableRow, attacks: tuple[str, ...]) -> list[Gap]:
    """For each run on its own dataset the attacks it was not tested under; and models that were not tested there."""
    found = []
    for group in grouped(rows, lambda row: (row.run, row.dataset, row.compat, row.precision, row.seed)):
        lacking = [attack for attack in attacks if all(row.attack != attack or row.earlier for row in group)]
        if lacking:
            found.append(gap(group[0], [group[0].dataset], lacking, settings_of(group)))
    for group in grouped([row for row in rows if row.dataset in task.datasets], lambda row: (row.dataset, row.model)):
        if all(row.source or row.earlier for row in group):
            found.append(Gap("", group[0].model, (group[0].dataset,), attacks, settings_of(group)))
    return found


def _untrained(runs: Sequence[Run], rows: Sequence[Row], task: catalog.TableRow, source: str) -> list[Untrained]:
    """The methods and shots of the paper that no model in the report was trained with on `source`."""
    models = dict.fromkeys(row.model for row in rows if row.source == source) or [row.model for row in rows[:1]]
    found = []
    for model in models:
        like = [run for run in runs if (run.kind, run.model, run.source) == ("train", model, source)]
        there = {(run.method, run.shots) for run in like}
        own_shots = tuple(dict.fromkeys(run.shots for run in like)) if task.on_source else ()
        for shots in own_shots or task.shots:
            for method in task.methods:
                if catalog.methods()[method].loss and (method, shots) not in there:
                    command = training_command(method, source=source, shots=shots, model=model, like=like)
                    found.append(Untrained(method, shots, source, command))
    return found
