"""What moves a number from ours to the release's: every cell of a table once more under each switch of the catalog, and
what came of it, beside ours and the paper's.

A switch is turned on alone, and then all of them together. Where it changes neither the run nor the test of a cell
there is nothing to do; so which of them a cell has is nowhere written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from store.errors import UserError
from store.index import Index

from .. import catalog
from ..attacks.compat import parts, written
from ..catalog import OURS, PAPER, RELEASE, Cell, SwitchRow, TableRow, switches
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.known import Known
from ..jobs.training_spec import TrainSpec
from ..jobs.trials import Trial
from ..reports.comparing import credits_of
from ..reports.explanation import Effect, Explained
from ..reports.reading import rows_of, together
from ..reports.rows import Row
from ..settings import Home
from ..tasks.intervals import of_difference, of_pairs, wilson
from .cells import Settings, cells_of, in_run
from .compose import Composer
from .missing import made_by
from .selection import Data
from .steps import Step

if TYPE_CHECKING:
    from ..reports.comparing import Floats
    from .plan import Plan

Made = tuple[TrainSpec | str, EvaluationSpec]  # a run, or the method of a model as it comes, and its test


@dataclass(frozen=True)
class Explaining:
    """The switches of cells that are made with `settings`; `data` are their datasets."""

    settings: Settings
    data: Mapping[str, Data]
    # what was made before
    _settings: dict[tuple[SwitchRow, ...], Settings] = field(default_factory=dict)
    _runs: dict[Any, TrainSpec] = field(default_factory=dict)
    _tests: dict[Any, EvaluationSpec] = field(default_factory=dict)

    def variants(self, cell: Cell) -> dict[str, tuple[SwitchRow, ...]]:
        """What is turned on in each of its lines, by name: nothing in ours, last all that the release does."""
        ours = self.made(cell, ())
        alone = {name: (one,) for name, one in switches().items() if self._applies(one, cell, ours)}
        every = tuple(one for (one,) in alone.values() if one.together)
        return {OURS: (), **alone, **({RELEASE: every} if every else {})}

    def made(self, cell: Cell, turned: tuple[SwitchRow, ...]) -> Made | None:
        """How a cell is made with these switches on; None where its run has not as many epochs, and between two."""
        if cell.w is not None:
            return None
        settings = self.turned(turned)
        if not cell.source:
            return cell.method, self._test(settings, cell)
        run = self._run(turned, settings, cell)
        own = in_run(cell, run.epochs)
        return (run, self._test(settings, own)) if own else None

    def turned(self, on: tuple[SwitchRow, ...]) -> Settings:
        """The settings with these switches on."""
        if on not in self._settings:
            training, test = dict(self.settings.training), dict(self.settings.test)
            for one in on:
                training, test = _with(training, one.training), _with(test, one.test)
            self._settings[on] = replace(self.settings, training=training, test=test)
        return self._settings[on]

    def steps(self, composer: Composer, cells: Iterable[Cell]) -> Iterator[Step]:
        """What is to be done beside what `composer` does of these cells, switch by switch; each thing once."""
        had, trained, of_switch = set[Made | None](), set[TrainSpec | None](), dict[tuple[str, Any], list[Cell]]()
        for cell in cells:
            for name, on in self.variants(cell).items():
                made = self.made(cell, on)
                if made not in had and name != OURS:
                    of_switch.setdefault((name, on), []).append(cell)
                had.add(made)
                trained |= {made[0]} if made and name == OURS and isinstance(made[0], TrainSpec) else set()
        names = [*switches(), RELEASE]
        for name, on in sorted(of_switch, key=lambda one: names.index(one[0])):
            varied = replace(composer, settings=self.turned(on), note=f" + {name}")
            for step in varied.of_cells(of_switch[name, on]):
                trains = step.run if step.kind == "train" else None
                if trains is None or trains not in trained:
                    yield step
                trained.add(trains)

    def _applies(self, switch: SwitchRow, cell: Cell, ours: Made | None) -> bool:
        run = ours[0] if ours else None
        told = run.document() if isinstance(run, TrainSpec) and switch.instead_of else {}
        asked = all(told.get(name) == value for name, value in switch.instead_of.items())
        of = cell.dataset not in switch.but and cell.task in (switch.tasks or (cell.task,))
        return asked and of and self.made(cell, (switch,)) != ours

    def _run(self, on: tuple[SwitchRow, ...], settings: Settings, cell: Cell) -> TrainSpec:
        key = (on, cell.of_run)
        if key not in self._runs:
            self._runs[key] = settings.run(cell)
        return self._runs[key]

    def _test(self, settings: Settings, cell: Cell) -> EvaluationSpec:
        """The test of a checkpoint without a name, at the dataset's own size where that is what it says."""
        key = (id(settings), cell._replace(method="", source="", shots="", training=(), dataset=""))
        if key not in self._tests:
            self._tests[key] = settings.test_of("", cell)
        found, data = self._tests[key].on(cell.dataset), self.data.get(cell.dataset)
        own = data is not None and found.pixel_size == data.pixel_size
        return replace(found, pixel_size=None) if own else found


def _with(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """These options and more; of `compat` the parts of both."""
    both = {**options, **more}
    if "compat" in options and "compat" in more:
        both["compat"] = written(parts(options["compat"]) | parts(more["compat"]))
    return both


def explained(table: TableRow, plan: Plan, home: Home) -> Explained:
    """The report of a table of the plan's order. Raises UserError where it has no result of ours."""
    known, settings = Known(home), plan.order.settings(plan.scale)
    source = Source(known, Index(home.database_url), table.numbers, settings.model)
    explaining = Explaining(settings, plan.data)
    (narrowed,) = (one for one in plan.tables if one.name == table.name)
    cells = cells_of(narrowed)
    effects = [one for cell in cells for one in source.effects(cell, explaining)]
    if not effects:
        raise UserError(
            f"the index holds no result of {table.name} to explain", hint="mmcoa reproduce says what failed"
        )
    there = {(one.cell, one.switch) for one in effects}
    wanted = {(cell, name) for cell in cells for name in (*explaining.variants(cell), PAPER)}
    rows = [effect.row for effect in effects]
    return Explained(table, rows, made_by=made_by, effects=tuple(effects), absent=frozenset(wanted - there))


@dataclass(frozen=True)
class Source:
    """Finds results, and what each sample counted in them; `numbers` is the task that the paper's are of."""

    known: Known
    index: Index
    numbers: str
    model: str
    _found: dict[str, dict[str, Row]] = field(default_factory=dict)  # by evaluation and metric

    def effects(self, cell: Cell, explaining: Explaining) -> Iterator[Effect]:
        """Ours, those of each switch that is one of the cell, and the paper's; nothing where ours is not there."""
        trials = {
            name: trial
            for name, turned in explaining.variants(cell).items()
            if (trial := self._trial(explaining.made(cell, turned)))
        }
        found = {name: self._rows(trial, cell.attack) for name, trial in trials.items()}
        for metric, ours in found.get(OURS, {}).items():
            yield Effect(cell, OURS, ours, ours.value, ours.n, paired=True)
            own = credits_of(ours, self.known.home)
            for name, rows in found.items():
                if name != OURS and metric in rows:
                    same = own if np.array_equal(trials[OURS].indices, trials[name].indices) else None
                    yield self._effect(cell, name, ours, rows[metric], same)
            if ours.paper is not None:
                yield _papers(cell, ours, ours.paper)

    def _effect(self, cell: Cell, name: str, ours: Row, row: Row, own: Floats | None) -> Effect:
        """`own` is what each of the same images counted in ours; None where they are others, or nobody knows."""
        credits = credits_of(row, self.known.home) if own is not None else None
        if own is not None and credits is not None:
            low, high = of_pairs((credits - own).tolist())
            return Effect(cell, name, row, row.value, row.n, row.value - ours.value, low, high, True)
        low, high = of_difference(row.value, row.ci95, ours.value, ours.ci95)
        return Effect(cell, name, row, row.value, row.n, row.value - ours.value, low, high)

    def _trial(self, made: Made | None) -> Trial | None:
        """The trial of a run that is there, or of a model as it comes."""
        if made is None:
            return None
        of, test = made
        run = self.known.run(of) if isinstance(of, TrainSpec) else self.known.zero_shot(self.model, method=of)
        return next(iter(self.known.trials(run, test)), None) if run else None

    def _rows(self, trial: Trial, attack: str) -> dict[str, Row]:
        """By their metric."""
        key = trial.evaluation_id(attack)
        if key not in self._found:
            found = rows_of(together(self.index.results(evaluations=[key])), numbers=self.numbers)
            self._found[key] = {row.metric: row for row in found}
        return self._found[key]


def _papers(cell: Cell, ours: Row, value: float) -> Effect:
    """The paper's number, of all test images of its dataset."""
    row = catalog.datasets().get(ours.dataset)
    n = row.splits.get("test", ours.n) if row else ours.n
    low, high = of_difference(value, wilson(value * n, n), ours.value, ours.ci95)
    return Effect(cell, PAPER, ours, value, n, value - ours.value, low, high)
