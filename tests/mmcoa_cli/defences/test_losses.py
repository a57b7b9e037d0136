"""The training losses against numbers worked by hand, open_clip and finite differences; and what the release leaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.attacks.bert_attack import TextTarget
from mmcoa_cli.attacks.pgd import PgdSettings, pgd_iterates
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.defences import loss_of, losses
from mmcoa_cli.defences.batch import Batch as Shared
from mmcoa_cli.defences.settings import MmcoaSettings
from mmcoa_cli.defences.step import Attacks, Original, Step
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.pretraining import supervised_contrastive

LN = math.log
METHODS = ("ft_standard", "tecoa", "mmcoa")
NAMES = ["cat", "dog", "ship", "truck"]
PROMPTS = class_prompts(NAMES, "This is a photo of a {}")
ADV_PROMPTS = ["This is a photo of a dog", "This is a picture of a dog", "This is a photo of a boat",
               "This is a photo of a car"]  # fmt: skip


def unit(n: int, d: int = 6, *, seed: int = 0) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(rows, dim=1)


def test_contrastive_by_hand():
    """Images and texts (1, 0), (0.6, 0.8) and (1, 0), (0, 1), tau = 5 ln 2: logits [[5, 0], [3, 4]] ln 2.

    Image to text: ln(1 + 2^-5) and ln(1 + 2^-1). Text to image: ln(1 + 2^-2) and ln(1 + 2^-4). Each direction is the
    mean of its two, and both are added.
    """
    images, texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    loss = losses.contrastive(images, texts, tau=torch.tensor(5 * LN(2)))
    expected = (LN(33 / 32) + LN(3 / 2)) / 2 + (LN(5 / 4) + LN(17 / 16)) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_contrastive_counts_the_same_class_as_a_negative():
    """Two images with the same prompt: neither direction can tell which belongs to which, ln 2 each."""
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(losses.contrastive(same, same, tau=torch.tensor(9.0))) == pytest.approx(2 * LN(2), abs=1e-6)


def test_contrastive_is_twice_that_of_open_clip():
    images, texts, tau = unit(7), unit(7, seed=1), torch.tensor(14.3, dtype=torch.float64)
    theirs = open_clip.ClipLoss()(images, texts, tau)
    torch.testing.assert_close(losses.contrastive(images, texts, tau=tau), 2 * theirs, rtol=1e-12, atol=0)


def test_supervised_contrastive_by_hand():
    """Three images, two prompts, logits [[2, 0], [1, 0], [0, 3]] ln 2, labels 0, 0, 1.

    Image to text: ln(1 + 1/4), ln(1 + 1/2), ln(1 + 1/8), their mean. Text to image: prompt 0 gives the images
    4/7, 2/7, 1/7 and shares its target between the first two: -(ln 4/7 + ln 2/7) / 2; prompt 1 gives 1/10, 1/10, 8/10:
    -ln 8/10. The mean of the directions.
    """
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]) * LN(2)
    to_texts = (LN(5 / 4) + LN(3 / 2) + LN(9 / 8)) / 3
    to_images = (-(LN(4 / 7) + LN(2 / 7)) / 2 - LN(8 / 10)) / 2
    loss = supervised_contrastive(logits, torch.tensor([0, 0, 1]))
    assert float(loss) == pytest.approx((to_texts + to_images) / 2, abs=1e-6)


def test_supervised_contrastive_is_open_clips_when_no_class_repeats():
    images, texts, tau = unit(5), unit(5, seed=1), torch.tensor(14.3, dtype=torch.float64)
    loss = supervised_contrastive(tau * images @ texts.T, torch.arange(5))
    torch.testing.assert_close(loss, open_clip.ClipLoss()(images, texts, tau), rtol=1e-12, atol=0)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "contrastive": lambda i, t, tau: losses.contrastive(i, t, tau=tau),
    "supervised": lambda i, t, tau: supervised_contrastive(tau * i @ t.T, torch.tensor([0, 2, 2, 1])),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str):
    tau = torch.tensor(3.0, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (unit(4), unit(4, seed=1), tau)]
    assert torch.autograd.gradcheck(LOSSES[name], inputs)


class Batch:
    """A training batch of 8 images of 3 classes on a small CLIP, as `training` makes them."""

    def __init__(self, clip: Clip, *, contrast: str = "batch", compat: str = "none") -> None:
        self.clip = clip
        rng = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (8, 3, 20, 20), generator=rng).float() / 255
        self.labels = torch.tensor([0, 3, 0, 2, 2, 0, 3, 3])
        self.attack = PgdSettings(eps="4/255", alpha="1/255", steps=10)
        self.step = Step(
            clip,
            clip,
            Shared(self.labels, self.labels, [8]),
            images=lambda: self.images,
            indices=list(range(50, 58)),
            class_prompts=PROMPTS,
            attacks=Attacks(self.attack, self.text_target()),
            original=Original(lambda: clip, PROMPTS),
            backward=lambda loss: loss.backward(),
            seed=3,
            epoch=1,
            compat=compat,
            settings=MmcoaSettings(contrast),
        )

    def text_target(self) -> TextTarget:
        """One candidate for each prompt, so that the attack's outcome is ADV_PROMPTS."""
        candidates: list[list[list[str]]] = []
        for prompt, adv in zip(PROMPTS, ADV_PROMPTS, strict=True):
            pairs = zip(prompt.split(" "), adv.split(" "), strict=True)
            candidates.append([[after] if before != after else [] for before, after in pairs])
        return TextTarget(PROMPTS, candidates, BertAttackSettings(max_words_changed=2), str, frozenset())

    def text_features(self, texts: list[str]) -> Tensor:
        return self.clip.model.encode_text(self.clip.tokenizer(texts), normalize=True)

    def trajectory(self) -> list[Tensor]:
        """x + delta at every step of the attack, the start first."""
        start = random_start(self.attack, self.images, indices=range(50, 58), seed=3, epoch=1)
        with torch.no_grad():
            texts = self.text_features(PROMPTS)
        tau = self.clip.model.logit_scale.detach().exp()
        classify = lambda x: tau * self.clip.encode_images(x) @ texts.T  # noqa: E731
        return list(pgd_iterates(classify, self.images, self.labels, settings=self.attack, start=start))

    def plain_loss(self, method: str, contrast: str) -> Tensor:
        """The loss as method.md's table writes it: encoders called one by one, every image with its own prompt."""
        f, tau = self.clip.encode_images, self.clip.model.logit_scale.exp()
        x_adv = self.trajectory()[-1]
        if method in ("ft_standard", "tecoa"):
            images = self.images if method == "ft_standard" else x_adv
            return F.cross_entropy(tau * f(images) @ self.text_features(PROMPTS).T, self.labels)
        total = torch.zeros(())
        for images, prompts in ((x_adv, PROMPTS), (self.images, ADV_PROMPTS)):
            if contrast == "class":
                total = total + 0.5 * F.cross_entropy(tau * f(images) @ self.text_features(prompts).T, self.labels)
            else:
                logits = tau * f(images) @ self.text_features([prompts[k] for k in self.labels]).T
                own = torch.arange(8)
                total = total + 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))
        return total

    def gradients(self) -> dict[str, Tensor]:
        found = {name: w.grad.clone() for name, w in self.clip.named_parameters() if w.grad is not None}
        self.clip.zero_grad(set_to_none=True)
        return found


def assert_same_gradients(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        error = float((ours[name] - gradient).abs().max())
        assert error <= 1e-3 * scale + 1e-7, f"{name}: off by {error} of {scale}"


@pytest.mark.parametrize("contrast", ["batch", "class"])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_has_the_loss_and_gradients_of_the_equation(clip: Clip, method: str, contrast: str):
    batch = Batch(clip, contrast=contrast)
    loss = loss_of(method)(batch.step)
    assert batch.gradients() == {}, "the attack left gradients on the weights"
    loss.backward()
    ours = batch.gradients()
    plain = batch.plain_loss(method, contrast)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    plain.backward()
    assert_same_gradients(ours, batch.gradients())


@pytest.mark.parametrize("compat", ["release", "leak"])
@pytest.mark.parametrize("method", ["tecoa", "mmcoa"])
def test_the_release_adds_the_gradients_of_its_attack(clip: Clip, method: str, compat: str):
    """Ten cross-entropy gradients at the ten points where PGD stood, and that of the loss, all summed up."""
    batch = Batch(clip, compat=compat)
    loss = loss_of(method)(batch.step)
    leaked = batch.gradients()
    batch = Batch(clip, compat=compat)
    loss_of(method)(batch.step).backward()
    ours = batch.gradients()

    points = batch.trajectory()[:-1]
    assert len(points) == 10
    for x in points:
        logits = clip.model.logit_scale.exp() * clip.encode_images(x) @ batch.text_features(PROMPTS).T
        F.cross_entropy(logits, batch.labels).backward()
    expected_leak = {name: w.grad.clone() for name, w in clip.named_parameters() if w.grad is not None}
    plain = batch.plain_loss(method, "batch")
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    plain.backward()
    assert_same_gradients(leaked, expected_leak)
    assert_same_gradients(ours, batch.gradients())
    weight = "logit_scale" if method == "tecoa" else "text_projection"
    assert not torch.allclose(leaked[f"model.{weight}"], ours[f"model.{weight}"], rtol=1e-2)


def test_without_the_leak_the_gradients_are_bit_for_bit_those_of_the_loss(clip: Clip):
    """The same step on images that were attacked beforehand: the attack inside adds nothing at all."""
    batch = Batch(clip, compat="positions,case,words,single")
    x_adv = batch.step.adv_images()
    assert batch.gradients() == {}
    loss_of("tecoa")(batch.step).backward()
    ours = batch.gradients()
    features, texts, tau = clip(x_adv, clip.tokenize(PROMPTS))
    F.cross_entropy(tau * features @ texts.T, batch.labels).backward()
    expected = batch.gradients()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize("compat", ["none", "release"])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_moves_no_statistic_and_no_mode(clip: Clip, method: str, compat: str):
    """BatchNorm's running statistics before and after a loss and its gradients: the same bits."""
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    batch = Batch(clip, compat=compat)
    loss_of(method)(batch.step).backward()
    assert not any(module.training for module in clip.model.modules())
    for name, tensor in clip.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_training_images_stay_on_the_grid_where_they_saturate(small_clips: dict[str, Clip]):
    batch = Batch(small_clips["vit"])
    adv_images = batch.step.adv_images()
    assert ((adv_images - batch.images).abs() <= 4 / 255 + 1e-6).all()
    levels = adv_images * 255
    saturated = (adv_images - batch.images).abs() > 3.999 / 255
    assert saturated.any()
    assert torch.equal(adv_images[saturated], levels.round()[saturated] / 255)


def test_the_start_is_another_in_every_epoch(small_clips: dict[str, Clip]):
    def attacked(epoch: int) -> Tensor:
        batch = Batch(small_clips["vit"])
        batch.step.epoch, batch.step.attacks = epoch, Attacks(replace(batch.attack, steps=1))
        return batch.step.adv_images()

    first, again, later = (attacked(epoch) for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
