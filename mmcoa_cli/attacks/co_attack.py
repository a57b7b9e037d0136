"""`co-attack`: images attacked in the knowledge of the adversarial prompts, and then classified by those.

The text attack comes first. An image's embedding is driven away from where it was, and from the adversarial prompt of
its own class. `co-attack-set` does so for an image and all of its captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import UserError

from .base import Ascent, Attack, Batch, Goal
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


def away(features: Tensor, clean: Tensor, adv_texts: Tensor, *, text_weight: float) -> Tensor:
    """KL(softmax f(x) || softmax f(x')) + text_weight KL(softmax g(t') || softmax f(x')) (Zhang et al., 2022, Eq. 5).

    Of `features` f(x'), `clean` f(x) and `adv_texts` g(t'), (b, D) each and of unit length: (b,).
    """
    from .bert_attack import divergence  # in double precision: at its start the first term is 1e-7

    return divergence(clean, features) + text_weight * divergence(adv_texts, features)


def goal(batch: Batch) -> Goal:
    """delta <- project(delta + alpha sign(grad away(f(x + delta)))), delta_0 ~ U(0, eps)."""
    from .pgd import holding

    settings, encode, answer = batch.settings, batch.victim.encode_images, batch.answer

    def objective(x: Tensor, clean: Tensor, adv_texts: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        holds = holding(answer, x, labels) if settings.stop_when_fooled else None
        return away(encode(x), clean, adv_texts, text_weight=settings.text_weight).sum(), holds

    adv_texts = batch.class_features("text")[batch.labels]
    return Goal(objective, (encode(batch.images).detach(), adv_texts, batch.labels))


CO_ATTACK = Attack(
    "co-attack",
    title="PGD away from the clean image and from its adversarial prompt",
    source="Zhang et al., 2022, arXiv 2206.09391, Eq. 5; arXiv 2404.19287, Table V",
    settings=CoAttackSettings,
    version=2,
    needs=("clean", "text"),
    images=Ascent(goal, start=Batch.one_sided_start),
    prompts_of="text",
    seeded=True,
)


def away_from_all(batch: Batch) -> Tensor:
    """Ascends KL(softmax f(x) || softmax f(x')) + w mean_i KL(softmax g(t'_i) || softmax f(x')), i its captions, from
    U(0, eps): (B, 3, S, S). The published attack goes pair by pair, and keeps what it made with the last."""
    from .pgd import ascend

    if batch.own_rows is None or batch.own_texts is None:
        raise ValueError("co-attack-set attacks images with captions")
    clean, rows = batch.victim.encode_images(batch.images).detach(), batch.own_rows
    pairs = clean[rows], batch.class_features("text")[batch.own_texts]
    share = 1 / rows.bincount(minlength=len(clean))[rows]

    def loss(x: Tensor) -> Tensor:
        return away(batch.victim.encode_images(x)[rows], *pairs, text_weight=batch.settings.text_weight) * share

    return ascend(loss, batch.images, batch.settings, start=batch.one_sided_start(), on_step=batch.on_step)


CO_ATTACK_SET = Attack(
    "co-attack-set",
    title="co-attack away from the adversarial versions of all captions of an image",
    source="after Zhang et al., 2022, arXiv 2206.09391, Eq. 5",
    settings=CoAttackSettings,
    version=2,
    needs=("clean", "text"),
    images=away_from_all,
    prompts_of="text",
    seeded=True,
    on="captions",
)
