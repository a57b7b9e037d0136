"""What was asked for: a table or figure, a preset, the models; and the sizes that the preset `quick` chooses from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.files import replacing
from store.keys import key_of

from .. import catalog
from ..attacks.base import with_needs
from ..catalog import AXES, MethodRow, TableRow
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.job import Start
from ..jobs.training_spec import DEFAULT_MLM, DEFAULT_MODEL
from ..settings import Home
from ..terminal.checks import one_of, positive
from .cells import Settings


@dataclass(frozen=True)
class Work:
    """What is measured: with these settings a step of each method's own loss, and the examples of each attack; with
    `leaks`, such a step with the gradient leak of the released code, too."""

    settings: Settings
    methods: tuple[MethodRow, ...]
    attacks: tuple[str, ...]
    start: Start
    leaks: bool = False

    @property
    def model(self) -> str:
        return self.settings.model

    @property
    def mlm(self) -> str:
        return str(self.settings.test["mlm"])

    @property
    def precision(self) -> str:
        return str(self.settings.test["precision"])

    @property
    def block(self) -> int:
        """The batch size of tests."""
        return self.settings.test["batch_size"] or EvaluationSpec.batch_size


PRESETS = ("paper", "quick")


@dataclass(frozen=True)
class Scale:
    """How large a reproduction is: at most so many training images a class, epochs and test images, and the steps of
    the image attack in the test. None: no limit."""

    shots: str = "full"
    epochs: int | None = None
    limit: int | None = None
    steps: int = 100

    def shots_of(self, row: TableRow) -> tuple[str, ...]:
        """Those of the paper's shots that are few enough, else the most that is."""
        return tuple(shots for shots in row.shots if _number(shots) <= _number(self.shots)) or (self.shots,)


PAPER = Scale()
# What `quick` chooses from: each smaller than the one before in something, and larger in nothing.
LADDER = (
    PAPER,
    Scale("full", 10, 1000, 10),
    Scale("50", 10, 1000, 10),
    Scale("5", 10, 1000, 10),
    Scale("5", 10, 500, 10),
    Scale("5", 5, 200, 10),
    Scale("5", 3, 100, 10),
    Scale("1", 3, 100, 10),
    Scale("1", 2, 50, 5),
    Scale("1", 1, 20, 3),
)


@dataclass(frozen=True)
class Request:
    """The options of `mmcoa reproduce`. Raises UserError for what cannot be."""

    names: tuple[str, ...]
    preset: str = "paper"
    hours: float = 2.0  # quick: what the whole may take
    source: str | None = None  # trained on this instead of the paper's
    model: str = DEFAULT_MODEL
    mlm: str = DEFAULT_MLM
    lr: float | None = None  # of the methods that fine-tune
    batch_size: int | None = None
    seed: int = 0
    compat: str = "none"
    precision: str = "fp32"
    explain: bool = False  # by what each switch of the catalog moves the numbers
    start: Start = field(default_factory=Start)
    jobs: int = 1  # steps that are done at once

    def __post_init__(self) -> None:
        self.tables  # noqa: B018  (raises UserError for a name that is not in the catalog)
        one_of("--preset", self.preset, PRESETS)
        positive("--hours", self.hours)
        if self.explain and self.compat != "none":
            raise UserError(
                "--explain goes from our numbers to those of --compat release, a part at a time",
                hint="leave out --compat",
            )
        for table in self.tables:  # raises UserError for what no test takes
            evaluation_spec("", (), table.attacks, task=table.tested_in, **self.settings(PAPER).test)

    @cached_property
    def tables(self) -> tuple[TableRow, ...]:
        """The tables and figures, each once; a name may be that of one of the catalog's lists ("all")."""
        names = dict.fromkeys(name for given in self.names for name in catalog.lists().get(given, (given,)))
        return tuple(catalog.lookup(catalog.tables(), name, "table or figure") for name in names)

    @property
    def attacks(self) -> tuple[str, ...]:
        """Those of the tables, what an attack needs before it."""
        shown = list(dict.fromkeys(name for table in self.tables for name in table.attacks))
        return tuple(attack.name for attack in with_needs(shown) if attack.name in shown)

    @property
    def methods(self) -> list[MethodRow]:
        """Those of the tables that train something."""
        names = dict.fromkeys(name for table in self.tables for name in table.methods)
        return [row for name in names if (row := catalog.methods()[name]).loss]

    @property
    def work(self) -> Work:
        """What of it is measured."""
        return Work(self.settings(PAPER), tuple(self.methods), self.attacks, self.start, leaks=self.explain)

    def settings(self, scale: Scale) -> Settings:
        """Those of the methods in the paper, but for what was asked for, and no larger than `scale` allows."""
        both = {
            "mlm": self.mlm, "batch_size": self.batch_size, "seed": self.seed, "compat": self.compat,
            "precision": self.precision,
        }  # fmt: skip
        test = {**both, "limit": scale.limit, "steps": scale.steps}
        return Settings(self.model, both, test, scale.epochs, self.lr)


def _number(shots: str) -> float:
    return math.inf if shots == "full" else int(shots)


def remembered(order: Request, home: Home) -> Scale | None:
    """The size an earlier `quick` of the same options chose: to go on after an interruption, whatever the measurement
    says by then. None where it never began."""
    try:
        return Scale(**json.loads(file_of(order, home).read_text(encoding="utf8"))["scale"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


def remember(order: Request, scale: Scale, home: Home) -> None:
    """Keep the size for the next time that the same is typed."""
    with replacing(file_of(order, home)) as partial:
        document = {"options": _options(order), "scale": asdict(scale)}
        partial.write_text(json.dumps(document, indent=1), encoding="utf8")


def file_of(order: Request, home: Home, *, ending: str = "json") -> Path:
    """The file of what is remembered of an order."""
    return home.runs / f"reproduce-{key_of(_options(order))[:8]}.{ending}"


def _options(order: Request) -> dict[str, Any]:
    """What decides the results: not in how many processes they are computed, how many at once, nor whether a table or a
    figure shows them, so that two which show the same runs share them."""
    grids = {key_of(_results_of(table)): _results_of(table) for table in order.tables}
    options = {**asdict(order), "names": [grids[key] for key in sorted(grids)], "start": None}
    return {name: value for name, value in options.items() if name != "jobs" and (name != "explain" or value)}


def _results_of(table: TableRow) -> dict[str, Any]:
    names = [name for name in (*AXES, *table.options) if name != "w" or name in table.grid]  # which is older than that
    return {**{name: table.axis(name) for name in names}, "attack": sorted(table.attacks)}
