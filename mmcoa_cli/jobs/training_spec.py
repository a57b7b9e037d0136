"""What a training run is made of: the options of `mmcoa train`, checked and frozen."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from store.errors import UserError

from .. import catalog
from ..attacks.settings import COMPATS, PgdSettings
from ..terminal.checks import not_negative, one_of, positive

TUNES = ("both", "image", "text")
CONTRASTS = ("batch", "class")
PRECISIONS = ("fp32", "bf16")
SHOTS = re.compile(r"0*[1-9][0-9]{0,8}")
DEFAULT_MODEL, DEFAULT_MLM, DEFAULT_DATASET = "ViT-B-32", "bert-base-uncased", "cifar100"


@dataclass(frozen=True)
class TrainSpec:
    """One training run. Names are those of the store; `eps` and `alpha` are texts in their canonical form ("1/255")."""

    method: str
    dataset: str = DEFAULT_DATASET
    shots: str = "full"
    model: str = DEFAULT_MODEL
    mlm: str = DEFAULT_MLM
    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-6
    eps: str = "1/255"
    alpha: str = "1/255"
    steps: int = 10
    seed: int = 0
    tune: str = "both"
    contrast: str = "batch"
    compat: str = "none"
    precision: str = "fp32"
    image_weight: float = 0.5
    text_weight: float = 0.5

    def __post_init__(self) -> None:
        one_of("--tune", self.tune, TUNES)
        one_of("--contrast", self.contrast, CONTRASTS)
        one_of("--compat", self.compat, COMPATS)
        one_of("--precision", self.precision, PRECISIONS)
        if self.shots != "full" and not SHOTS.fullmatch(self.shots):
            raise UserError(f"--shots {self.shots} is no number of images a class", hint="--shots 5, or --shots full")
        for option, value in (("--epochs", self.epochs), ("--batch-size", self.batch_size), ("--lr", self.lr)):
            positive(option, value)
        for option, weight in (("--image-weight", self.image_weight), ("--text-weight", self.text_weight)):
            if not 0 <= weight < math.inf:
                raise UserError(f"{option} {weight} is no weight of a loss", hint=f"{option} 0.5, as in the paper")
        positive("--image-weight + --text-weight", self.image_weight + self.text_weight)
        not_negative("--seed", self.seed)
        checked = self.image_attack  # raises UserError for what PGD cannot be run with
        object.__setattr__(self, "eps", checked.eps)
        object.__setattr__(self, "alpha", checked.alpha)

    @property
    def image_attack(self) -> PgdSettings:
        """The attack that training runs at every step."""
        return PgdSettings(eps=self.eps, alpha=self.alpha, steps=self.steps)

    @property
    def run_name(self) -> str:
        """What the run's id begins with; enough to name it, where only one run begins so."""
        shots = "full" if self.shots == "full" else f"{self.shots}shot"
        return f"{self.method}-{self.dataset}-{shots}"


def train_spec(method: str, **options: Any) -> TrainSpec:
    """A run of `method`: options that are None have the paper's values for it and for the dataset, from the catalog."""
    row = catalog.lookup(catalog.methods(), method, "method")
    given = {name: value for name, value in options.items() if value is not None}
    dataset = catalog.datasets().get(given.get("dataset", DEFAULT_DATASET))
    batch_size = dataset.batch_size if dataset and dataset.batch_size else row.batch_size
    defaults = {"epochs": row.epochs, "batch_size": batch_size, "lr": row.lr}
    return TrainSpec(row.name, **{**defaults, **given})
