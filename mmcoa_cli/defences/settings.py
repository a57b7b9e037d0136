"""The settings of the defences: checked, frozen, and free of anything heavy, so that a command can read them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, get_args

from store.errors import UserError

from ..attacks.embedding import EmbeddingSettings
from ..terminal.checks import one_of, positive
from ..terminal.literals import Contrast

STEPS = 10  # of the image attack in training, where a test takes 100


@dataclass(frozen=True)
class MmcoaSettings:
    """`contrast`: the pairs of a "batch", as in the paper, or against each "class" prompt, which makes no negatives of
    images that share a label. The weights are gamma1 and gamma2 of Eq. 9."""

    contrast: Contrast = "batch"
    image_weight: float = 0.5
    text_weight: float = 0.5

    def __post_init__(self) -> None:
        one_of("--contrast", self.contrast, get_args(Contrast))
        for name in ("image_weight", "text_weight"):
            option, weight = f"--{name.replace('_', '-')}", float(getattr(self, name))
            if not 0 <= weight < math.inf:
                raise UserError(f"{option} {weight} is no weight of a loss", hint=f"{option} 0.5, as in the paper")
            object.__setattr__(self, name, weight)
        positive("--image-weight + --text-weight", self.image_weight + self.text_weight)

    def identity(self) -> dict[str, Any]:
        """How a run's identity has them."""
        return {"pairs": [self.contrast, self.image_weight, self.text_weight]}


@dataclass(frozen=True)
class AdvptSettings:
    """The radius and the steps of the attack that makes the training images, as published: not those of a test."""

    offline_eps: str = "8/255"
    offline_steps: int = STEPS

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "offline_eps", self.offline_attack.eps)
        except UserError as error:  # which names the options of a test
            raise UserError(_offline(str(error)), hint=_offline(error.hint)) from None

    @property
    def offline_attack(self) -> EmbeddingSettings:
        return EmbeddingSettings(eps=self.offline_eps, steps=self.offline_steps)


def _offline(text: str) -> str:
    """With "-o offline_eps=3" for "--eps 3"."""
    return re.sub(r"--(eps|steps)( (?=[-.\d]))?", lambda found: f"-o offline_{found[1]}{'=' if found[2] else ''}", text)


SETTINGS: dict[str, type[Any]] = {"mmcoa": MmcoaSettings, "advpt": AdvptSettings}  # by the name of the loss
