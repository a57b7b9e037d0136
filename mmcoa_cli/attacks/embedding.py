"""`embedding`: images driven away from where their own embedding was, whatever the prompts are.

AdvPT makes its training images so, and its published test attacks nothing else (Zhang et al., 2024): neither the label
nor a learned prompt takes part. Against `image`, which goes through all of that, it is a weak attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .base import Attack, Batch
from .settings import AscentSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EmbeddingSettings(AscentSettings):
    """An `alpha` of None becomes 1.25 eps / steps, as published; in L2 the norm's own."""

    def __post_init__(self) -> None:
        if self.alpha is None and self.norm == "linf" and self.steps > 0:
            object.__setattr__(self, "alpha", self.published_step(self.eps, self.steps))
        super().__post_init__()


def adv_images(batch: Batch) -> Tensor:
    """Ascends KL(softmax f(x) || softmax f(x')) of features as they come, not of unit length, from delta_0 ~ U(0, eps),
    because at x itself the gradient is zero: (B, 3, S, S)."""
    from .bert_attack import divergence
    from .pgd import ascend

    clean = batch.victim.image_features(batch.images).detach()

    def loss(x: Tensor) -> Tensor:
        return divergence(clean, batch.victim.image_features(x))

    return ascend(loss, batch.images, batch.settings, start=batch.one_sided_start(), on_step=batch.on_step)


EMBEDDING = Attack(
    "embedding",
    title="PGD away from the clean image's embedding, whatever the prompts are",
    source="Zhang et al., 2024, arXiv 2311.11261",
    settings=EmbeddingSettings,
    version=2,
    needs=("clean",),
    images=adv_images,
    seeded=True,
)
