"""The attack on the embedding: its loss and start by hand, and that no label and no prompt takes part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcoa_cli.attacks.base import Batch
from mmcoa_cli.attacks.embedding import EmbeddingSettings, adv_images
from mmcoa_cli.models.clip import Clip

SETTINGS = EmbeddingSettings(eps="8/255", steps=10)


def batch_of(clip: Clip, images: Tensor, settings: EmbeddingSettings = SETTINGS, **changes: Any) -> Batch:
    def unused(*_: Any) -> Tensor:
        raise AssertionError("neither labels nor prompts take part")

    batch = Batch(
        victim=clip, images=images, labels=torch.zeros(len(images), dtype=torch.long), indices=range(len(images)),
        settings=settings, seed=4, logits=unused, answer=unused, class_features=unused,
    )  # fmt: skip
    return replace(batch, **changes)


def divergence_by_hand(clip: Clip, clean: Tensor, moved: Tensor) -> list[float]:
    """KL(softmax f(x) || softmax f(x')) of raw features, number by number."""
    found = []
    for f, g in zip(clip.image_features(clean).tolist(), clip.image_features(moved).tolist(), strict=True):
        below_f, below_g = math.fsum(map(math.exp, f)), math.fsum(map(math.exp, g))
        p, q = [math.exp(v) / below_f for v in f], [math.exp(v) / below_g for v in g]
        found.append(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return found


@pytest.mark.parametrize(
    ("given", "alpha"),
    [
        ({"eps": "8/255", "steps": 10}, "1/255"),
        ({"eps": "16/255", "steps": 40}, "0.5/255"),
        ({"alpha": "1/510"}, "0.5/255"),
    ],
)
def test_the_step_is_the_published_share_of_eps(given: dict[str, Any], alpha: str) -> None:
    assert EmbeddingSettings(**given).alpha == alpha


def test_it_moves_the_embedding_further_than_its_start_inside_the_ball(clip: Clip) -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float() / 255
    batch = batch_of(clip, images)
    start, moved = (images + batch.start().abs()).clamp(0, 1), adv_images(batch)
    before, after = divergence_by_hand(clip, images, start), divergence_by_hand(clip, images, moved)
    assert all(b > 3 * a for a, b in zip(before, after, strict=True))
    assert ((moved - images).abs() <= 8 / 255 + 1e-6).all() and moved.min() >= 0 and moved.max() <= 1


def test_a_step_climbs_the_divergence_from_a_one_sided_start(clip: Clip) -> None:
    """One step of eps: where it goes up, finite differences of the divergence by hand go up too."""
    images = torch.randint(60, 200, (1, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float() / 255
    settings = EmbeddingSettings(eps="8/255", alpha="8/255", steps=1)
    start = images + batch_of(clip, images, settings).start().abs()
    assert (start >= images).all()
    moved = adv_images(batch_of(clip, images, settings))
    uphill = (moved - start).sign()
    ahead, behind = (divergence_by_hand(clip, images, start + h * uphill)[0] for h in (1e-2, -1e-2))
    assert ahead > behind


def test_other_labels_and_another_batch_change_nothing(clip: Clip) -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float() / 255
    whole = adv_images(batch_of(clip, images))
    assert torch.equal(whole, adv_images(batch_of(clip, images, labels=torch.tensor([2, 0, 1]))))
    alone = adv_images(batch_of(clip, images[2:], indices=[2]))
    assert float((alone - whole[2:]).abs().gt(1e-4).float().mean()) < 0.01  # but for the sign of what rounds to 0
