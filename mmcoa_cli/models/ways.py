"""The way from one model to another: which models lie on it, and what each is called. No tensor is needed to say so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import get_args

from store.errors import UserError
from store.keys import key_of

from ..terminal.checks import one_of
from ..terminal.literals import Towers

MOST = 1001  # models on a way


@dataclass(frozen=True)
class End:
    """One of the two: its run, and the digest of its weights."""

    run: str
    weights: str


@dataclass(frozen=True)
class Way:
    """From A to B in `steps` models; of the image encoder alone, or of both `towers`."""

    a: End
    b: End
    steps: int = 11
    towers: str = "both"

    def __post_init__(self) -> None:
        one_of("--towers", self.towers, get_args(Towers))
        if not 2 <= self.steps <= MOST:
            raise UserError(f"--steps {self.steps} is out of range", hint="--steps 11: w = 0, 0.1 ... 1")

    @property
    def weights(self) -> list[float]:
        """Every w, from 0 to 1."""
        return [number / (self.steps - 1) for number in range(self.steps)]

    def run_id(self, w: float) -> str:
        """The id of the model at w, whatever the number of steps that led there."""
        return f"interpolated-{key_of([asdict(self.a), asdict(self.b), self.towers])[:8]}-w{w:.4g}"


def steps_over(weights: Iterable[float]) -> int:
    """How many models a way has at least that has all of these w: 11 for 0, 0.1 ... 1."""
    return max(1, math.lcm(*(Fraction(str(w)).denominator for w in weights))) + 1
