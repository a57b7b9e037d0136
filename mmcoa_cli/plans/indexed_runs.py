"""What the index has of a table, as a plan asks for it: each run and model in a report, with the settings of its
results, that further ones are made with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from store.errors import UserError
from store.row_checks import parsed

from .. import catalog
from ..attacks import base
from ..catalog import Cell, TableRow
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_after
from ..jobs.training_spec import TrainSpec, options_of, stored_spec
from ..models.epochs import epochs_of
from ..models.runs import INTERPOLATED
from ..reports.lines import grouped
from ..reports.rows import Row
from ..reports.standing import is_named, shots_of
from .cells import Settings, in_run

if TYPE_CHECKING:
    from store.schema import Run

ANY = ("seed", "precision", "compat")
OF_ONE_RUN = ("seed", "shots", "model", "part", "model_sha256", "base", "recipe", "data_key", "mlm_weights")
WHOLE = ("none", "release")  # of compat
_told = attrgetter("attack", "threat", *ANY)


@dataclass(frozen=True)
class Tested:
    """A run or a model of the index, with results that were measured alike; none where it was not tested yet.

    `found` is its row among the runs; None for a model that has none.
    """

    found: Run | None
    model: str
    axes: Mapping[str, tuple[Any, ...]]  # the part of a table's grid that it is
    usual: Callable[[str], Mapping[str, Any]]  # gives the settings of a test under an attack without results
    rows: Sequence[Row] = ()
    told: dict[Any, tuple[Any, ...]] = field(default_factory=dict)  # the options of results that were measured alike

    @property
    def checkpoint(self) -> str:
        """A model as it comes is named by its own name, one with something around it by its row among the runs."""
        if self.found is None:
            return self.model
        method = catalog.methods().get(self.found.method)
        return self.found.id if self.found.source or (method and method.wrapper) else self.model

    def alike(self, attack: str, *, without: Mapping[str, Any]) -> list[list[Row]]:
        """Its results under an attack, those of the same settings together; `without` options that a grid has. Where
        there are none, one group of none."""

        def options(row: Row) -> tuple[Any, ...]:
            shared = (*_measured_so(row), *without)
            if shared not in self.told:
                self.told[shared] = tuple(_but(settings_of([row], limit=False), without).items())
            return self.told[shared]

        return grouped([row for row in self.rows if row.attack == attack], options) or [[]]

    def settings(self, attack: str, rows: Sequence[Row], *, without: Container[str]) -> Settings:
        """Those of such a group."""
        return Settings(test=_but(settings_of(rows) if rows else self.usual(attack), without))

    def cell(self, cell: Cell) -> Cell | None:
        """A cell as this run has it; None where it has not as many epochs."""
        return in_run(cell, epochs_of(self.found)) if self.found and self.found.source else cell

    def lacks(self, spec: EvaluationSpec) -> bool:
        """Whether it has no result of today of this test, under its one attack."""
        rows = self._on.get(spec.datasets[0], [])
        return not any(row.attack in spec.attacks and _is_of(row, spec) for row in rows)

    @cached_property
    def _on(self) -> dict[str, list[Row]]:
        of_today = (row for row in self.rows if not row.earlier)
        return {same[0].dataset: same for same in grouped(of_today, lambda row: (row.dataset,))}


@dataclass(frozen=True)
class Collection:
    """The runs of an index, and the rows that a report of `table` has of them."""

    table: TableRow
    runs: Sequence[Run]
    rows: Sequence[Row]

    @cached_property
    def sources(self) -> list[str]:
        """The training sets that the report is about."""
        if self.table.on_source:
            return [name for name in self.table.datasets if any(row.dataset == name for row in self.rows)]
        return sorted({row.source for row in self.rows if row.source}) or list(self.table.sources)

    def tested(self) -> Iterator[Tested]:
        """Every run or model with results, finished runs without any, and models that runs started from. Results with a
        part of --compat were made to explain others, and are no beginning of more."""
        whole = [row for row in self.rows if row.compat in ("", *WHOLE)]
        on_source, of_run = self.table.on_source, {same[0].run: same for same in grouped(whole, lambda r: (r.run,))}
        kind, told = INTERPOLATED if self.table.between else "train", dict[Any, tuple[Any, ...]]()

        def alike(row: Row) -> tuple[Any, ...]:
            return (row.dataset if on_source else "", row.compat, row.precision, row.seed)

        for run in (run for run in self.runs if run.method in catalog.methods()):
            untested = (run.kind, run.status) == (kind, "complete") and self._stands(run)
            for group in grouped(of_run.get(run.id, []), alike) or ([[]] if untested else []):
                source, usual = run.source or group[0].dataset, partial(self._usual, run, group)
                yield Tested(run, run.model, _axes(run.method, source), usual, group, told)
        here = [row for row in self.rows if not on_source or row.dataset in self.table.datasets]
        zero_shot = next((name for name in self.table.methods if not catalog.methods()[name].loss), "")
        for group in grouped(here, lambda row: (row.model, row.dataset if on_source else "")):
            if zero_shot and all(row.source for row in group):
                usual = partial(self._usual, None, group)
                yield Tested(None, group[0].model, _axes(zero_shot, group[0].dataset), usual)

    def _usual(self, run: Run | None, group: Sequence[Row], attack: str) -> Mapping[str, Any]:
        """The settings of a test that joins results under an attack: those of the run's own ones, else of those which
        others have there, else those that `mmcoa train` itself tests it with."""
        on = group[0].dataset if group and self.table.on_source else run.source if run and self.table.on_source else ""
        others = self._of_others.get((attack, on), {})
        return {**(_after_training(run) if run else {}), **others, **settings_of(group)}

    @cached_property
    def _of_others(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """What most results under an attack were measured with, where that keeps tables apart on one dataset."""
        every = grouped(self.rows, lambda row: (row.attack, row.dataset if self.table.on_source else ""))
        return {(same[0].attack, same[0].dataset if self.table.on_source else ""): _as_most(same) for same in every}

    def _stands(self, run: Run) -> bool:
        """Whether the table names a run that it may have no results of."""
        if self.table.every or run.source not in self.sources:
            return run.source in self.sources
        spec = parsed(run.spec)
        shots = shots_of(self.table, {row.shots for row in self.rows if row.source == run.source} or {run.shots})
        w = spec.get("interpolated", {}).get("w")
        return run.shots in shots and is_named({} if w is not None else spec, self.table, method=run.method, w=w)

    def ways(self) -> Iterator[tuple[Run, int]]:
        """The runs that the table needs models on the way to which are not there, and the steps of the way."""
        weights = {w for w in self.table.axis("w") if w is not None}
        if not weights:
            return
        from ..models.interpolation import Way, steps_over  # few tables are about models between two

        alone = self.table.narrowed(w=(None,))
        for run in self.runs:
            if (run.kind, run.status) == ("train", "complete") and replace(self, table=alone)._stands(run):
                ways = [parsed(other.spec)["interpolated"] for other in self.runs if other.kind == INTERPOLATED]
                if weights - {way["w"] for way in ways if (way["b"]["run"], way["towers"]) == (run.id, Way.towers)}:
                    yield run, steps_over(weights)

    def size_of_tests(self, source: str) -> dict[str, int | None]:
        """The limit and the steps of the tests on a training set, None where they are the usual ones."""
        own = [row for row in self.rows if row.dataset == source]
        found, usual = settings_of(own), base.every_option()["steps"]
        steps = None if "steps" in self.table.options or found.get("steps") == usual else found.get("steps")
        return {"limit": found.get("limit"), "steps": steps}

    def _seed(self, source: str, like: Sequence[Run]) -> int:
        """The seed of further runs: that of those which are there, or of the tests that these are to stand beside."""
        return min({run.seed for run in like} or {row.seed for row in self.rows if row.dataset == source} or {0})

    def untrained(self, source: str) -> Iterator[TrainSpec]:
        """The table's runs on `source` that are not there, those of few images first, for each model in the report that
        was trained on it."""
        for model in dict.fromkeys(row.model for row in self.rows if row.source == source) or [self.rows[0].model]:
            like = [run for run in self.runs if (run.kind, run.model, run.source) == ("train", model, source)]
            own_shots = tuple(dict.fromkeys(run.shots for run in like)) if self.table.on_source else ()
            table = self.table.narrowed(source=(source,), shots=own_shots or self.table.shots)
            there = {(run.method, run.shots, *self._options_of(run)) for run in like}
            cells = dict.fromkeys(cell.of_run for cell in table.cells() if cell.source)
            unusual = [_unusual(run) for run in like]
            for cell in sorted(cells, key=lambda cell: table.shots.index(cell.shots)):
                told = {**in_common(unusual, cell.method), "seed": self._seed(source, like)}
                spec = Settings(model, {name: told[name] for name in told if name not in self._options}).run(cell)
                told = spec.document()
                if (cell.method, cell.shots, *(told.get(name) for name in self._options)) not in there:
                    yield spec

    def _options_of(self, run: Run) -> list[Any]:
        spec = _spec_of(run) if self._options else None
        return [spec.document().get(name) if spec else None for name in self._options]

    @cached_property
    def _options(self) -> list[str]:
        """The options of training that the table has."""
        return list(dict.fromkeys(name for training in self.table.axis("training") for name in training))


def _but(options: Mapping[str, Any], without: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in without}


def _axes(method: str, source: str) -> dict[str, tuple[Any, ...]]:
    """Of a run that is known: however it was made, it is one."""
    return {"method": (method,), "source": (source,), "shots": ("full",), "training": ({},), "w": (None,)}


def settings_of(rows: Sequence[Row], *, limit: bool = True) -> dict[str, Any]:
    """The options of `mmcoa evaluate` that `rows` were measured with; of several values the first, but of limits the
    one of most rows."""
    found: dict[str, Any] = {"limit": _limit_of(rows)} if limit and rows else {}
    different: dict[Any, Row] = {}
    for row in rows:
        different.setdefault(_measured_so(row), row)
    for row in different.values():
        attack = base.ATTACKS.get(row.attack)  # one of a plugin may not be here
        for name in (*ANY, *(_options(attack) if attack else ())):
            value = row.get(name)
            if value is not None:
                found.setdefault(name, value)
    return found


def _measured_so(row: Row) -> tuple[Any, ...]:
    """Equal for rows that say the same of how they were measured: documents are shared by those that have the same."""
    return *_told(row), id(row.setting)


@cache  # ten thousands of rows are of few attacks
def _options(attack: base.Attack) -> tuple[str, ...]:
    return tuple(base.options_of([attack.name]))


def _as_most(rows: Sequence[Row]) -> dict[str, Any]:
    """The settings of most rows."""
    alike = max(grouped(rows, _measured_so), key=len)
    return {"limit": _limit_of(alike), **settings_of(alike[:1], limit=False)}


def in_common(told: Sequence[Mapping[str, Any]], method: str) -> dict[str, Any]:
    """The settings in which all runs differ from the usual, of which that is `told`: those that one of `method` has."""
    own = {*TrainSpec.__dataclass_fields__, *options_of(catalog.methods()[method]), *base.every_option()}
    first = told[0] if told else {}
    return {n: v for n, v in first.items() if n in own and all(other.get(n) == v for other in told)}


def _is_of(row: Row, spec: EvaluationSpec) -> bool:
    """Whether a row was measured with the settings of `spec` for its attack, as far as it says."""
    if row.setting.get("epoch") != spec.epoch:
        return False
    told = {"mlm": spec.mlm}
    for part in base.parts(row.attack):
        told |= asdict(spec.settings(part))
    return all(told.get(name, value) == value for name, value in settings_of([row], limit=False).items())


def _limit_of(rows: Sequence[Row]) -> int | None:
    limits = sorted({row.limit for row in rows if row.limit is not None})
    of_rows = [next((n for n in limits if row.n <= n), None) for row in rows]  # a small test set is its own subset
    return Counter(of_rows).most_common(1)[0][0]


def _after_training(run: Run) -> dict[str, Any]:
    """The settings that `mmcoa train` itself tests a run with; none where its own make no sense."""
    spec = _spec_of(run) if run.kind == "train" else None
    if spec is None:
        return {}
    after = evaluation_after(spec)
    return {**{name: getattr(after, name) for name in ("mlm", *ANY)}, **after.options}


def _unusual(run: Run) -> dict[str, Any]:
    """The settings in which a run differs from the usual, and those of its test; many runs have the same."""
    return _unusual_in(run.method, json.dumps({n: v for n, v in parsed(run.spec).items() if n not in OF_ONE_RUN}))


@cache
def _unusual_in(method: str, text: str) -> dict[str, Any]:
    spec = _spec_in(method, text)  # some of its options are of its test alone
    return {"mlm": spec.mlm, "compat": spec.compat, **spec.unusual(), **spec.options} if spec else {}


def _spec_of(run: Run) -> TrainSpec | None:
    return _spec_in(run.method, run.spec)


@cache
def _spec_in(method: str, text: str) -> TrainSpec | None:
    """None for a run of another version, whose options make no sense."""
    try:
        return stored_spec(method, text)
    except UserError:
        return None
