"""What a loss can ask of a step, and design.md's example of one."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.defences import loss_of
from mmcoa_cli.defences.batch import Batch
from mmcoa_cli.defences.losses import kl
from mmcoa_cli.defences.step import Attacks, Original, Step
from mmcoa_cli.models.clip import Clip
from store.errors import UserError

PROMPTS = class_prompts(["cat", "dog", "ship", "truck"], "This is a photo of a {}")
LABELS = torch.tensor([0, 3, 0, 2])
PGD = PgdSettings(eps="4/255", steps=5)


class Loads:
    """Gives a copy of a model, and counts how often it was asked."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.count = copy.deepcopy(clip, {id(clip.tokenizer): clip.tokenizer}), 0

    def __call__(self) -> Clip:
        self.count += 1
        return self.clip


def step_of(clip: Clip, *, attacks: Attacks | None = None, original: Original | None = None) -> Step:
    images = torch.randint(0, 256, (4, 3, 20, 20), generator=torch.Generator().manual_seed(0)).float() / 255
    return Step(
        clip, clip, Batch(LABELS, LABELS, [4]), images=lambda: images, indices=[3, 4, 5, 6], class_prompts=PROMPTS,
        attacks=attacks or Attacks(PGD), original=original or Original(Loads(clip), PROMPTS),
        backward=lambda loss: loss.backward(), seed=1, epoch=1,
    )  # fmt: skip


def plain_logits(clip: Clip, images: Tensor) -> Tensor:
    texts = clip.encode_texts(clip.tokenize(PROMPTS))
    return clip.scale * clip.encode_images(images) @ texts.T


def test_logits_features_and_cross_entropy(clip: Clip) -> None:
    step = step_of(clip)
    expected = plain_logits(clip, step.images)
    torch.testing.assert_close(step.logits(step.images), expected)
    torch.testing.assert_close(step.cross_entropy(step.images), F.cross_entropy(expected, LABELS, reduction="none"))
    raw = step.image_features(step.images)
    assert (raw.norm(dim=1) - 1).abs().min() > 1e-3
    torch.testing.assert_close(F.normalize(raw, dim=1), clip.encode_images(step.images))


def test_pgd_is_the_ascent_of_the_cross_entropy_bit_for_bit(clip: Clip) -> None:
    step = step_of(clip)
    assert torch.equal(step.ascend(step.cross_entropy), step.adv_images())


def test_an_ascent_raises_any_loss_inside_the_ball_and_leaves_no_gradient(clip: Clip) -> None:
    step = step_of(clip)

    def distance(images: Tensor) -> Tensor:
        return (step.image_features(images) - step.original.image_features(step.images)).square().sum(dim=1)

    adv_images = step.ascend(distance)
    assert (distance(adv_images) > distance(step.images)).all()
    assert ((adv_images - step.images).abs() <= 4 / 255 + 1e-6).all()
    assert all(weight.grad is None for weight in clip.parameters())


def test_texts_are_encoded_once_for_all_steps_of_an_attack_and_once_with_gradients(clip: Clip) -> None:
    step, encoded = step_of(clip), 0
    encode = clip.encode_texts

    def counted(tokens: Tensor) -> Tensor:
        nonlocal encoded
        encoded += 1
        return encode(tokens)

    clip.encode_texts = counted  # type: ignore[method-assign]
    x_adv = step.ascend(step.cross_entropy)
    loss = step.logits(x_adv).sum() + step.logits(step.images).sum()
    assert encoded == 2 and loss.requires_grad


def test_the_original_is_loaded_once_and_never_moves(clip: Clip) -> None:
    load = Loads(clip)
    original, before = Original(load, PROMPTS), None
    for _ in range(2):
        step = step_of(clip, original=original)
        logits = step.original.logits(step.images)
        assert not logits.requires_grad and step.original is step.original
        before = logits if before is None else before
        assert torch.equal(logits, before)
        with torch.no_grad():  # as an optimizer does
            for weight in clip.parameters():
                weight.add_(0.01)
    assert load.count == 1
    assert not torch.allclose(step.logits(step.images), before)


def test_the_example_of_the_design_is_its_equation(clip: Clip, plugins: None) -> None:
    load = Loads(clip)
    with torch.no_grad():  # the model is not as it was any more
        for weight in clip.model.visual.parameters():
            weight.add_(0.01)
    step = step_of(clip, original=Original(load, PROMPTS))
    loss = loss_of("pmg_aft")(step)
    x_adv = step.adv_images()
    adv, clean, start = plain_logits(clip, x_adv), plain_logits(clip, step.images), plain_logits(load.clip, x_adv)
    p, q, r = adv.softmax(dim=1), clean.softmax(dim=1), start.softmax(dim=1)
    expected = -p[range(4), LABELS].log().mean()
    expected = expected + (r * (r / p).log()).sum(dim=1).mean() + (q * (q / p).log()).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(weight.grad is None for weight in load.clip.parameters())


def test_kl_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2): 3/4 ln 3/2 + 1/4 ln 1/2; of p from itself 0; the mean of both."""
    p, q = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(), torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log()
    expected = (0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log()) / 2
    torch.testing.assert_close(kl(p, q), expected)


def test_an_attack_that_the_row_does_not_name_is_refused(clip: Clip) -> None:
    step = step_of(clip, attacks=Attacks())
    with pytest.raises(UserError, match="the loss uses the image attack, which its row of the catalog does not name"):
        step.ascend(step.cross_entropy)
    with pytest.raises(UserError) as raised:
        step.adv_prompts([0])
    assert raised.value.hint == 'attacks = ["text"] in the row of the method'


def test_a_loss_that_is_not_there() -> None:
    for name in ("nothing", "../settings", "os"):
        with pytest.raises(UserError, match="there is no loss called"):
            loss_of(name)
