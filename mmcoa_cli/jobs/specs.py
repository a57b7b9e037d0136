"""What attacks, training runs and evaluations are made of: the options of the command line, checked and frozen."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from ..attacks.radii import canonical_or_same
from ..attacks.settings import COMPATS, PgdSettings
from ..terminal.checks import not_negative, one_of, positive
from .training_spec import DEFAULT_DATASET as DEFAULT_DATASET
from .training_spec import DEFAULT_MLM as DEFAULT_MLM
from .training_spec import DEFAULT_MODEL as DEFAULT_MODEL
from .training_spec import PRECISIONS as PRECISIONS
from .training_spec import TrainSpec as TrainSpec
from .training_spec import train_spec as train_spec

ATTACKS = ("clean", "image", "text", "multimodal")


class Kind(StrEnum):
    """What can be fetched: a dataset, a CLIP model, a masked LM."""

    dataset = "dataset"
    clip = "clip"
    mlm = "mlm"


@dataclass(frozen=True)
class EvaluationSpec:
    """What `checkpoint` (a run or a model) is tested with: an index row for each dataset and attack."""

    checkpoint: str
    datasets: tuple[str, ...]
    attacks: tuple[str, ...] = ATTACKS
    mlm: str = DEFAULT_MLM
    norm: str = "linf"
    eps: str = "1/255"
    alpha: str | None = None
    steps: int = 100
    limit: int | None = None
    pixel_size: int | None = None  # the side of the images that are attacked; None: the dataset's own
    seed: int = 0
    batch_size: int = 128
    precision: str = "fp32"
    stop_when_fooled: bool = False
    no_collisions: bool = False
    compat: str = "none"

    def __post_init__(self) -> None:
        for attack in self.attacks:
            one_of("--attack", attack, ATTACKS)
        one_of("--compat", self.compat, COMPATS)
        one_of("--precision", self.precision, PRECISIONS)
        positive("--batch-size", self.batch_size)
        if self.limit is not None:
            positive("--limit", self.limit)
        if self.pixel_size is not None:
            positive("--pixel-size", self.pixel_size)
        not_negative("--seed", self.seed)
        checked = self.image_attack  # raises UserError for what PGD cannot be run with
        object.__setattr__(self, "eps", checked.eps)
        object.__setattr__(self, "alpha", checked.alpha)

    @property
    def image_attack(self) -> PgdSettings:
        """The attack of `image` and `multimodal`."""
        return PgdSettings(self.norm, self.eps, self.alpha, self.steps, stop_when_fooled=self.stop_when_fooled)


def evaluation_after(spec: TrainSpec) -> EvaluationSpec:
    """The evaluation a run ends with: its own dataset, all attacks, the radius it was trained with, 100 steps."""
    return EvaluationSpec(
        "", (spec.dataset,), mlm=spec.mlm, eps=spec.image_attack.eps, alpha=spec.image_attack.alpha, seed=spec.seed,
        batch_size=spec.batch_size, precision=spec.precision, compat=spec.compat,
    )  # fmt: skip


def options_in(text: str, kind: type[EvaluationSpec]) -> dict[str, Any]:
    """The options among what the index says of a run or evaluation (JSON), with eps and alpha in their canonical form;
    what else stands there was not asked for."""
    known = {field.name for field in fields(kind)}
    found = {name: value for name, value in json.loads(text).items() if name in known}
    radii = {name: canonical_or_same(found[name]) for name in ("eps", "alpha") if name in found}
    return {**found, **radii}
