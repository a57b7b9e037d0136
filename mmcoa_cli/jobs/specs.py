"""What attacks, training runs and evaluations are made of: the options of the command line, checked and frozen."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from fractions import Fraction
from typing import Any

from store.errors import UserError

from .. import catalog
from ..attacks.radii import LEVELS, canonical, canonical_or_same, fraction, radius, written

TUNES = ("both", "image", "text")
CONTRASTS = ("batch", "class")
COMPATS = ("none", "release")
NORMS = ("linf", "l2")
PRECISIONS = ("fp32", "bf16")
ATTACKS = ("clean", "image", "text", "multimodal")
SHOTS = re.compile(r"0*[1-9][0-9]{0,8}")
MOST = {  # what an option can be meant to be
    "--epochs": 10**6, "--batch-size": 10**6, "--lr": 10**6, "--steps": 10**6, "--limit": 10**9, "--pixel-size": 1024,
    "--hours": 10**5, "--processes": 1024,
}  # fmt: skip
DEFAULT_MODEL, DEFAULT_MLM, DEFAULT_DATASET = "ViT-B-32", "bert-base-uncased", "cifar100"


class Kind(StrEnum):
    """What can be fetched: a dataset, a CLIP model, a masked LM."""

    dataset = "dataset"
    clip = "clip"
    mlm = "mlm"


@dataclass(frozen=True)
class ImageAttack:
    """PGD's specification. `eps` and `alpha` are texts in their canonical form ("1/255"), in units of a pixel in
    [0, 1]; an `alpha` of None becomes the norm's own."""

    norm: str = "linf"
    eps: str = "1/255"
    alpha: str | None = None
    steps: int = 100
    random_start: bool = True
    stop_when_fooled: bool = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UserError(f"there is no norm called {self.norm!r}", hint=f"--norm {' or '.join(NORMS)}")
        if self.steps < 0:
            raise UserError(f"an attack of {self.steps} steps cannot be run", hint="--steps 100, as in the paper")
        within("--steps", self.steps)
        typed, eps = (self.eps, self.alpha), canonical(self.eps)
        alpha = default_alpha(self.norm, eps, self.steps) if self.alpha is None else canonical(self.alpha, "--alpha")
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "alpha", alpha)
        for option, text in (("--eps", typed[0]), ("--alpha", typed[1])):
            if self.norm == "linf" and text is not None and radius(text, option) >= 1:
                raise UserError(f"{option} {text} is the whole range of a pixel", hint=_smaller(option, text))

    @property
    def step_size(self) -> float:
        """alpha as a number."""
        return radius(str(self.alpha), "--alpha")

    @property
    def stays_on_grid(self) -> bool:
        """Whether perturbed 8-bit images can be 8-bit images again: L-inf with eps and alpha in whole 1/255."""
        whole = all((fraction(text) * LEVELS).denominator == 1 for text in (self.eps, str(self.alpha)))
        return self.norm == "linf" and whole

    @property
    def caution(self) -> str:
        """Why a model that withstands this attack need not withstand its eps; empty for an attack that fits."""
        eps, alpha = fraction(self.eps), fraction(str(self.alpha))
        if self.steps * alpha < eps:
            return f"steps x alpha = {self.steps} x {self.alpha} does not reach eps {self.eps}: a weak attack"
        if alpha > 2 * eps:
            return f"alpha {self.alpha} is more than twice eps {self.eps}: every step crosses the whole ball"
        return ""


def default_alpha(norm: str, eps: str, steps: int) -> str:
    """The step size where none is given: 1/255 in L-inf; 2.5 eps / steps in L2, for which 1/255 is next to nothing."""
    return "1/255" if norm == "linf" else written(fraction(canonical(eps)) * Fraction(5, 2) / max(steps, 1))


def _smaller(option: str, text: str) -> str:
    """For a radius of 1 or more in L-inf: 8 is meant as 8/255."""
    level = "/" not in text and fraction(text) < LEVELS
    return f"{option} {written(fraction(text) / LEVELS)}" if level else f"{option} 8/{LEVELS}"


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
    def image_attack(self) -> ImageAttack:
        """The attack that training runs at every step."""
        return ImageAttack(eps=self.eps, alpha=self.alpha, steps=self.steps)

    @property
    def run_name(self) -> str:
        """What the run's id begins with; enough to name it, where only one run begins so."""
        shots = "full" if self.shots == "full" else f"{self.shots}shot"
        return f"{self.method}-{self.dataset}-{shots}"


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
    def image_attack(self) -> ImageAttack:
        """The attack of `image` and `multimodal`."""
        return ImageAttack(self.norm, self.eps, self.alpha, self.steps, stop_when_fooled=self.stop_when_fooled)


def train_spec(method: str, **options: Any) -> TrainSpec:
    """A run of `method`: options that are None have the paper's values for it and for the dataset, from the catalog."""
    row = catalog.lookup(catalog.methods(), method, "method")
    given = {name: value for name, value in options.items() if value is not None}
    dataset = catalog.datasets().get(given.get("dataset", DEFAULT_DATASET))
    batch_size = dataset.batch_size if dataset and dataset.batch_size else row.batch_size
    defaults = {"epochs": row.epochs, "batch_size": batch_size, "lr": row.lr}
    return TrainSpec(row.name, **{**defaults, **given})


def evaluation_after(spec: TrainSpec) -> EvaluationSpec:
    """The evaluation a run ends with: its own dataset, all attacks, the radius it was trained with, 100 steps."""
    return EvaluationSpec(
        "", (spec.dataset,), mlm=spec.mlm, eps=spec.eps, alpha=spec.alpha, seed=spec.seed, batch_size=spec.batch_size,
        precision=spec.precision, compat=spec.compat,
    )  # fmt: skip


def options_in(text: str, kind: type[TrainSpec] | type[EvaluationSpec]) -> dict[str, Any]:
    """The options among what the index says of a run or evaluation (JSON), with eps and alpha in their canonical form;
    what else stands there was not asked for."""
    known = {field.name for field in fields(kind)}
    found = {name: value for name, value in json.loads(text).items() if name in known}
    radii = {name: canonical_or_same(found[name]) for name in ("eps", "alpha") if name in found}
    return {**found, **radii}


def one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{option} {value} is unknown", hint=f"{option} takes {', '.join(choices)}")


def positive(option: str, value: float) -> None:
    """Raises UserError unless `value` is above 0, finite, and no more than can be meant."""
    if not 0 < value < math.inf:
        told = "is not positive" if value <= 0 else "is no number to compute with"
        raise UserError(f"{option} {value} {told}", hint="mmcoa VERB --help shows the default")
    within(option, value)


def within(option: str, value: float) -> None:
    """Raises UserError for more than can be meant: it would run for years, or take all memory."""
    if not value <= MOST.get(option, value):
        raise UserError(f"{option} {value} is too large", hint=f"{option} takes at most {MOST[option]:,}")


def not_negative(option: str, value: int) -> None:
    """Raises UserError for a negative `value`."""
    if not 0 <= value < 2**63:
        raise UserError(f"{option} {value} is out of range", hint=f"{option} 0")
