"""`image`: PGD on the cross-entropy of the image against all K clean class prompts (the paper's Eq. 2-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Attack, Batch
from .settings import PgdSettings

if TYPE_CHECKING:
    from torch import Tensor


def adv_images(batch: Batch) -> Tensor:
    """delta <- project(delta + alpha sign(grad CE(f(x + delta), T))): (B, 3, S, S)."""
    from .pgd import pgd

    return pgd(
        batch.logits, batch.images, batch.labels,
        settings=batch.settings, start=batch.start(), on_step=batch.on_step,
    )  # fmt: skip


IMAGE = Attack(
    "image",
    title="PGD on the pixels",
    source="Madry et al., 2018; arXiv 2404.19287, Eq. 2-3",
    settings=PgdSettings,
    needs=("clean",),
    images=adv_images,
    seeded=True,
    usual=True,
)
