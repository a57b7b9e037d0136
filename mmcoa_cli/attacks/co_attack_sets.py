"""`co-attack-set`: Co-Attack on an image and all of its captions. The published one (`co-attack`) attacks pair by pair,
and keeps what it made with the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Attack, Batch
from .co_attack import CoAttackSettings, away

if TYPE_CHECKING:
    from torch import Tensor


def adv_images(batch: Batch) -> Tensor:
    """Ascends KL(softmax f(x) || softmax f(x')) + w mean_i KL(softmax g(t'_i) || softmax f(x')), i its captions, from
    U(0, eps): (B, 3, S, S)."""
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
    images=adv_images,
    prompts_of="text",
    seeded=True,
    on="captions",
)
