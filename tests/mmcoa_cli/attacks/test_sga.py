"""SGA against a plain loop in double precision, one image at a time; and its captions by trying all candidates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.attacks.base import Batch, Texts
from mmcoa_cli.attacks.bert_attack import prepare
from mmcoa_cli.attacks.co_attack import CoAttackSettings, away_from_all
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.attacks.sga import NOISE, SgaSettings, adv_images, first_captions, last_captions
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.masked_lm import load_masked_lm
from mmcoa_cli.randomness import keyed
from store.errors import UserError

SIDE, OWNERS = 16, [0, 0, 0, 1, 2, 2]  # three images with three, one and two captions


class Linear:
    """A victim that a person can follow: an image's embedding is a matrix times its pixels, of unit length."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weight = torch.from_numpy(rng.standard_normal((6, 3 * SIDE * SIDE)))
        self.texts = F.normalize(torch.from_numpy(rng.standard_normal((len(OWNERS), 6))), dim=1)

    def encode_images(self, images: Tensor) -> Tensor:
        return F.normalize(images.flatten(1) @ self.weight.T, dim=1)


def batch_of(victim: Linear, settings: Any, rows: list[int]) -> Batch:
    """A block of the images `rows`, which have the numbers 10, 11 and 12."""
    levels = np.random.default_rng(1).integers(0, 256, (3, 3, SIDE, SIDE))
    own = [(rows.index(owner), text) for text, owner in enumerate(OWNERS) if owner in rows]
    return Batch(
        victim=victim, images=torch.from_numpy(levels).double()[rows] / 255, labels=torch.zeros(len(rows)),  # type: ignore[arg-type]
        indices=[10 + row for row in rows], settings=settings, seed=7, logits=lambda x: x, answer=lambda x: x,
        class_features={"sga-text": victim.texts, "text": victim.texts}.__getitem__,
        own_rows=torch.tensor([row for row, _ in own]), own_texts=torch.tensor([text for _, text in own]),
    )  # fmt: skip


def plain(victim: Linear, batch: Batch, settings: SgaSettings, row: int) -> Tensor:
    """One image, as formulas say it: noise, resize, clamp, resize back, at every scale but 1."""
    image, number = batch.images[row], batch.indices[row]
    own = [text for text, owner in enumerate(OWNERS) if owner == number - 10]
    start = random_start(settings, batch.images, indices=batch.indices, seed=7)[row]
    x, eps, alpha = (image + start).clamp(0, 1), 8 / 255, 3 / 255
    resize = {"mode": "bicubic", "align_corners": False, "antialias": settings.antialias}
    for step in range(settings.steps):
        x = x.detach().requires_grad_()
        noise = keyed(7, number, epoch=NOISE + step)
        total = torch.zeros((), dtype=torch.float64)
        others = [scale for scale in settings.scales if scale != 1]
        drawn = noise.standard_normal((len(others), 3, SIDE, SIDE), dtype=np.float32)
        views = [x] * settings.scales.count(1.0)
        for scale, added in zip(others, drawn, strict=True):
            small = F.interpolate((x + settings.noise * torch.from_numpy(added))[None], int(scale * SIDE), **resize)
            views.append(F.interpolate(small.clamp(0, 1), SIDE, **resize)[0])
        for view in views:
            for text in own:
                total = total - (victim.encode_images(view[None])[0] * victim.texts[text]).sum()
        (gradient,) = torch.autograd.grad(total, x)
        x = torch.clamp(x.detach() + alpha * gradient.sign(), image - eps, image + eps).clamp(0, 1)
    return x


SETTINGS = SgaSettings(eps="8/255", alpha="3/255", steps=4)


@pytest.mark.parametrize(
    "changes",
    [{}, {"antialias": False}, {"scales": (0.5, 2.0), "noise": 0.2}, {"scales": (1.0,)}, {"scales": (1.0, 0.5, 0.5)},
     {"noise": 0.0}],
    ids=["as published", "without antialiasing", "other scales", "the image alone", "scales twice", "without noise"],
)  # fmt: skip
def test_images_are_those_of_a_plain_loop(changes: dict[str, Any]) -> None:
    victim, settings = Linear(), replace(SETTINGS, **changes)
    batch = batch_of(victim, settings, [0, 1, 2])
    found = adv_images(batch)
    for row in range(3):
        assert torch.allclose(found[row], plain(victim, batch, settings, row), atol=1e-5)
    assert float((found - batch.images).abs().max()) <= 8 / 255 + 1e-9


def test_an_image_does_not_know_who_else_is_in_its_block() -> None:
    victim = Linear()
    together = adv_images(batch_of(victim, SETTINGS, [0, 1, 2]))
    assert torch.allclose(adv_images(batch_of(victim, SETTINGS, [2, 0])), together[[2, 0]], atol=1e-9)


def test_it_turns_images_away_from_all_their_captions() -> None:
    victim, batch = Linear(), batch_of(Linear(), SETTINGS, [0, 1, 2])
    before, after = (victim.encode_images(images) @ victim.texts.T for images in (batch.images, adv_images(batch)))
    own = torch.zeros_like(before)
    own[OWNERS, range(len(OWNERS))] = 1
    assert (((after - before) * own).sum(dim=1) < 0).all()


def test_co_attack_on_sets_is_that_of_a_plain_loop() -> None:
    victim, settings = Linear(), CoAttackSettings(eps="8/255", alpha="3/255", steps=4, text_weight=2.0)
    batch = batch_of(victim, settings, [0, 1, 2])
    found = away_from_all(batch)
    for row in range(3):
        image, own = batch.images[row], [victim.texts[text] for text, owner in enumerate(OWNERS) if owner == row]
        x = (image + random_start(settings, batch.images, indices=batch.indices, seed=7)[row].abs()).clamp(0, 1)
        clean = victim.encode_images(image[None])[0].softmax(0)
        for _ in range(4):
            x = x.detach().requires_grad_()
            said = victim.encode_images(x[None])[0].log_softmax(0)
            kl = [(p * (p.log() - said)).sum() for p in (clean, *(text.softmax(0) for text in own))]
            (gradient,) = torch.autograd.grad(kl[0] + 2 * sum(kl[1:]) / len(own), x)
            x = torch.clamp(x.detach() + 3 / 255 * gradient.sign(), image - 8 / 255, image + 8 / 255).clamp(0, 1)
        assert torch.allclose(found[row], x, atol=1e-5)


CAPTIONS = ["this is a photo of a dog", "a man on a red bike", "two birds in the tree", "a man on a red bike"]


def test_captions_are_the_candidates_least_like_their_images(shared: Path, small_clips: dict[str, Clip]) -> None:
    """The same caption of two images may become two: each is turned away from its own."""
    clip = small_clips["vit"]
    mlm = load_masked_lm(shared / "models" / "bert-tiny-captions-mlm", name="bert-tiny")
    rng = np.random.default_rng(3)
    features = F.normalize(torch.from_numpy(rng.standard_normal((4, 32))).float(), dim=1)
    of = {"clean": features, "sga": features}.__getitem__
    texts = Texts(clip, CAPTIONS, [], BertAttackSettings(), mlm, owners=torch.arange(4), image_features=of)
    found = first_captions(texts)
    target = prepare(CAPTIONS, [], mlm=mlm, settings=BertAttackSettings())
    for k, (old, new) in enumerate(zip(CAPTIONS, found, strict=True)):
        words, changed = old.split(" "), new.split(" ")
        (place,) = [i for i in range(len(words)) if words[i] != changed[i]]
        options = [" ".join([*words[:place], word, *words[place + 1 :]]) for word in target.candidates[k][place]]
        scores = clip.embed_texts([old, *options]).double() @ features[k].double()
        assert new == [old, *options][int(scores.argmin())] and scores.min() < scores[0]
    assert found[1] != found[3]
    again = replace(texts, settings=SgaSettings())
    assert last_captions(again) == found


@pytest.mark.parametrize(
    "changes", [{"scales": ()}, {"scales": (0.0,)}, {"scales": (99.0,)}, {"noise": -0.1}, {"noise": 7}]
)
def test_settings_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="out of range"):
        SgaSettings(**changes)
