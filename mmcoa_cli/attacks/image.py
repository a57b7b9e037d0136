"""`image`: PGD on the task's own loss. Of classes that is the cross-entropy against all K clean class prompts (the
paper's Eq. 2-3), of captions the divergence of an image's embedding from the clean one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Attack, Batch
from .settings import PgdSettings

if TYPE_CHECKING:
    from torch import Tensor


def adv_images(batch: Batch) -> Tensor:
    """delta <- project(delta + alpha sign(grad loss(x + delta))): (B, 3, S, S)."""
    from .pgd import iterates, last

    trajectory = iterates(batch.loss(), batch.images, settings=batch.settings, start=batch.start())
    return last(trajectory, batch.settings, batch.on_step)


IMAGE = Attack(
    "image",
    title="PGD on the pixels",
    source="Madry et al., 2018; arXiv 2404.19287, Eq. 2-3",
    settings=PgdSettings,
    version=2,
    needs=("clean",),
    images=adv_images,
    seeded=True,
    usual=True,
)
