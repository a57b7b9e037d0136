"""`co-attack`: images attacked in the knowledge of the adversarial prompts, and then classified by those.

The text attack comes first. An image's embedding is driven away from where it was, and from the adversarial prompt of
its own class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import UserError

from .base import Attack, Batch
from .settings import PgdSettings

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1e6  # of a weight: beyond, nothing is left of the other term


@dataclass(frozen=True)
class CoAttackSettings(PgdSettings):
    """PGD's, and how much the adversarial prompt counts beside the clean image."""

    text_weight: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.text_weight <= MOST:
            raise UserError(f"-o text_weight={self.text_weight:g} is out of range", hint="-o text_weight=3")
        object.__setattr__(self, "text_weight", float(self.text_weight))  # 3 is 3.0, also in keys

    def in_words(self) -> str:
        return f"{super().in_words()}, text weight {self.text_weight:g}"


def away_from(clean: Tensor, adv_texts: Tensor, *, text_weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    """KL(softmax f(x) || softmax f(x')) + text_weight KL(softmax g(t') || softmax f(x')) (Zhang et al., 2022, Eq. 5).

    `clean` and `adv_texts` are f(x) and g(t') of all images, (B, D); the loss is one of f(x'), (b, D), and of the rows
    that these belong to, (b,), and has a value for each. All are of unit length.
    """
    from .bert_attack import divergence  # in double precision: at its start the first term is 1e-7

    def loss(features: Tensor, rows: Tensor) -> Tensor:
        return divergence(clean[rows], features) + text_weight * divergence(adv_texts[rows], features)

    return loss


def adv_images(batch: Batch) -> Tensor:
    """delta <- project(delta + alpha sign(grad loss(f(x + delta)))), delta_0 ~ U(0, eps): (B, 3, S, S)."""
    from .pgd import holding, iterates, last

    clean, adv_texts = batch.victim.encode_images(batch.images).detach(), batch.class_features("text")[batch.labels]
    away = away_from(clean, adv_texts, text_weight=batch.settings.text_weight)

    def loss(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        holds = holding(batch.answer, x, batch.labels[rows]) if batch.settings.stop_when_fooled else None
        return away(batch.victim.encode_images(x), rows).sum(), holds

    trajectory = iterates(loss, batch.images, settings=batch.settings, start=batch.one_sided_start())
    return last(trajectory, batch.settings, batch.on_step)


CO_ATTACK = Attack(
    "co-attack",
    title="PGD away from the clean image and from its adversarial prompt",
    source="Zhang et al., 2022, arXiv 2206.09391, Eq. 5; arXiv 2404.19287, Table V",
    settings=CoAttackSettings,
    version=2,
    needs=("clean", "text"),
    images=adv_images,
    prompts_of="text",
    seeded=True,
)
