"""What came of an explanation: the results of each cell of a plan under each switch, beside ours and the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from store.errors import UserError
from store.index import Index

from .. import catalog
from ..catalog import OURS, PAPER, Cell, TableRow
from ..jobs.known import Known
from ..jobs.training_spec import TrainSpec
from ..jobs.trials import Trial
from ..reports.explanation import Effect, Explained
from ..reports.reading import rows_of, together
from ..reports.rows import Row
from ..settings import Home
from ..tasks.intervals import of_difference, of_pairs, wilson
from .compose import cells_of
from .explaining import Explaining, Made
from .made_by import made_by
from .plan import Plan


def explained(table: TableRow, plan: Plan, home: Home) -> Explained:
    """The report of a table of the plan's order. Raises UserError where it has no result of ours."""
    known, settings = Known(home), plan.order.settings(plan.scale)
    source = Source(known, Index(home.database_url), table.numbers, settings.model)
    explaining = Explaining(settings, plan.data)
    (narrowed,) = (one for one in plan.tables if one.name == table.name)
    effects = [one for cell in cells_of(narrowed) for one in source.effects(cell, explaining)]
    if not effects:
        raise UserError(
            f"the index holds no result of {table.name} to explain", hint="mmcoa reproduce says what failed"
        )
    return Explained(table, [effect.row for effect in effects], made_by=made_by, effects=tuple(effects))


@dataclass(frozen=True)
class Source:
    """Finds results, and what each sample counted in them; `numbers` is the task that the paper's are of."""

    known: Known
    index: Index
    numbers: str
    model: str

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
            for name, rows in found.items():
                if name != OURS and metric in rows:
                    yield self._effect(cell, name, ours, rows[metric], trials)
            if ours.paper is not None:
                yield _papers(cell, ours, ours.paper)

    def _effect(self, cell: Cell, name: str, ours: Row, row: Row, trials: Mapping[str, Trial]) -> Effect:
        credits = [_credits(trials[one], cell.attack, row.metric) for one in (OURS, name)]
        same = np.array_equal(trials[OURS].indices, trials[name].indices)
        if same and credits[0] is not None and credits[1] is not None:
            low, high = of_pairs((credits[1] - credits[0]).tolist())
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

    @cached_property
    def _found(self) -> dict[str, dict[str, Row]]:
        return {}


def _credits(trial: Trial, attack: str, metric: str) -> npt.NDArray[np.float64] | None:
    """What each sample counts; None where nothing says so, as of examples that were removed."""
    try:
        return trial.task.credits(metric, trial.column(attack))
    except (UserError, KeyError):
        return None


def _papers(cell: Cell, ours: Row, value: float) -> Effect:
    """The paper's number, of all test images of its dataset."""
    row = catalog.datasets().get(ours.dataset)
    n = row.splits.get("test", ours.n) if row else ours.n
    low, high = of_difference(value, wilson(value * n, n), ours.value, ours.ci95)
    return Effect(cell, PAPER, ours, value, n, value - ours.value, low, high)
