"""What was asked for: a table or figure, a preset, the models; and the sizes that the preset `quick` chooses from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.files import replacing
from store.keys import key_of

from .. import catalog
from ..attacks.base import with_needs
from ..catalog import TableRow
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.training_spec import DEFAULT_MLM, DEFAULT_MODEL, TrainSpec, train_spec
from ..jobs.worker import Start
from ..settings import Home
from ..terminal.checks import one_of, positive

PRESETS = ("paper", "quick")


@dataclass(frozen=True)
class Order:
    """The options of `mmcoa reproduce`. Raises UserError for what cannot be."""

    name: str
    preset: str = "paper"
    hours: float = 2.0  # quick: what the whole may take
    source: str | None = None  # trained on this instead of the paper's
    model: str = DEFAULT_MODEL
    mlm: str = DEFAULT_MLM
    lr: float | None = None
    batch_size: int | None = None
    seed: int = 0
    compat: str = "none"
    precision: str = "fp32"
    processes: int = 1
    accelerate_config: Path | None = None

    def __post_init__(self) -> None:
        self.row  # noqa: B018  (raises UserError for a name that is not in the catalog)
        one_of("--preset", self.preset, PRESETS)
        positive("--hours", self.hours)
        self.test_of("", "", PAPER, attacks=self.attacks, options={})  # raises UserError for options that no test takes

    @property
    def row(self) -> TableRow:
        return catalog.lookup(catalog.tables(), self.name, "table or figure")

    @property
    def attacks(self) -> tuple[str, ...]:
        """Those of the table, what an attack needs before it."""
        return tuple(attack.name for attack in with_needs(self.row.attacks) if attack.name in self.row.attacks)

    @property
    def start(self) -> Start:
        return Start(self.processes, self.accelerate_config)

    @property
    def block(self) -> int:
        """The batch size of tests."""
        return self.batch_size or EvaluationSpec.batch_size

    def training(self, method: str, source: str, *, shots: str, scale: Scale) -> TrainSpec:
        """A run with the method's settings in the paper, trained no longer than `scale` allows."""
        spec = train_spec(
            method, dataset=source, shots=shots, model=self.model, mlm=self.mlm, lr=self.lr,
            batch_size=self.batch_size, seed=self.seed, compat=self.compat, precision=self.precision,
        )  # fmt: skip
        return spec.changed(epochs=min(spec.epochs, scale.epochs)) if scale.epochs else spec

    def test_of(
        self, checkpoint: str, dataset: str, scale: Scale, *, attacks: Sequence[str], options: Mapping[str, Any]
    ) -> EvaluationSpec:
        """The test of a run or model on one dataset."""
        given = {"steps": scale.steps, **options}
        return evaluation_spec(
            checkpoint, (dataset,), tuple(attacks), mlm=self.mlm, limit=scale.limit, seed=self.seed,
            batch_size=self.batch_size, precision=self.precision, compat=self.compat, **given,
        )  # fmt: skip


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


def _number(shots: str) -> float:
    return math.inf if shots == "full" else int(shots)


def remembered(order: Order, home: Home) -> Scale | None:
    """The size an earlier `quick` of the same options chose: to go on after an interruption, whatever the measurement
    says by then. None where it never began."""
    try:
        return Scale(**json.loads(_file(order, home).read_text(encoding="utf8"))["scale"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


def remember(order: Order, scale: Scale, home: Home) -> None:
    """Keep the size for the next time that the same is typed."""
    with replacing(_file(order, home)) as partial:
        document = {"options": _options(order), "scale": asdict(scale)}
        partial.write_text(json.dumps(document, indent=1), encoding="utf8")


def _file(order: Order, home: Home) -> Path:
    return home.runs / f"reproduce-{key_of(_options(order))[:8]}.json"


def _options(order: Order) -> dict[str, Any]:
    """What decides the results: not in how many processes they are computed, nor whether a table or a figure shows
    them, so that two which show the same runs share them."""
    row = order.row
    grid = [row.methods, row.sources, row.shots, row.tested_on, order.attacks]
    return {**asdict(order), "name": grid, "processes": None, "accelerate_config": None}
