"""`image`: PGD on the task's own loss. Of classes that is the cross-entropy against all K clean class prompts (the
paper's Eq. 2-3), of captions the divergence of an image's embedding from the clean one."""

from __future__ import annotations

from .base import Ascent, Attack, Batch, Goal
from .settings import PgdSettings


def goal(batch: Batch) -> Goal:
    """delta <- project(delta + alpha sign(grad loss(x + delta)))."""
    return batch.goal()


IMAGE = Attack(
    "image",
    title="PGD on the pixels",
    source="Madry et al., 2018; arXiv 2404.19287, Eq. 2-3",
    settings=PgdSettings,
    version=2,
    needs=("clean",),
    images=Ascent(goal),
    seeded=True,
    usual=True,
)
