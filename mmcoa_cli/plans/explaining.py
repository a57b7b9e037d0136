"""What moves a number from ours to the release's: every cell of a table once more under each switch of the catalog.

A switch is turned on alone, and then all of them together. Where it changes neither the run nor the test of a cell
there is nothing to do; so which of them a cell has is nowhere written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..attacks.compat import parts, written
from ..catalog import OURS, RELEASE, Cell, SwitchRow, switches
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec
from .compose import Composer, in_run
from .selection import Data
from .settings import Settings
from .steps import Step

Made = tuple[TrainSpec | str, EvaluationSpec]  # a run, or the method of a model as it comes, and its test


@dataclass(frozen=True)
class Explaining:
    """The switches of cells that are made with `settings`; `data` are their datasets."""

    settings: Settings
    data: Mapping[str, Data]

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
        own = in_run(cell, run)
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
        key = (id(settings), replace(cell, method="", source="", shots="", training=(), dataset=""))
        if key not in self._tests:
            self._tests[key] = settings.test_of("", cell)
        found, data = self._tests[key].on(cell.dataset), self.data.get(cell.dataset)
        own = data is not None and found.pixel_size == data.pixel_size
        return replace(found, pixel_size=None) if own else found

    @cached_property
    def _settings(self) -> dict[tuple[SwitchRow, ...], Settings]:
        return {}

    @cached_property
    def _runs(self) -> dict[Any, TrainSpec]:
        return {}

    @cached_property
    def _tests(self) -> dict[Any, EvaluationSpec]:
        return {}


def _with(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """These options and more; of `compat` the parts of both."""
    both = {**options, **more}
    if "compat" in options and "compat" in more:
        both["compat"] = written(parts(options["compat"]) | parts(more["compat"]))
    return both
