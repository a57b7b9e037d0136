"""Co-Attack against a plain loop in double precision that shares no code with it, and against numbers by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.attacks import lookup
from mmcoa_cli.attacks.base import Batch
from mmcoa_cli.attacks.co_attack import CO_ATTACK, CoAttackSettings, away
from mmcoa_cli.attacks.radii import radius
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

from ..jobs.conftest import evaluated

PROMPTS = [f"This is a picture of a {name}" for name in ("cat", "dog", "cats", "ship", "tree")]
LABELS = torch.tensor([3, 0, 0, 4, 2, 1])


class Plain:
    """A CLIP in double precision, as an attack sees it: images of the encoder's own size, and unit embeddings."""

    def __init__(self, clip: Clip) -> None:
        self.model = copy.deepcopy(clip.model).double()
        self.mean, self.std = clip.mean.double(), clip.std.double()
        tokens = clip.tokenizer(PROMPTS)
        self.prompts = F.normalize(self.model.encode_text(tokens).detach(), dim=-1)

    def encode_images(self, images: Tensor) -> Tensor:
        return F.normalize(self.model.encode_image((images - self.mean) / self.std), dim=-1)


def eight_bit(n: int, side: int) -> Tensor:
    """Images with a good share of black and white pixels, where the image box cuts the ball: (n, 3, side, side)."""
    levels = np.clip(np.random.default_rng(5).integers(-60, 316, size=(n, 3, side, side)), 0, 255)
    return torch.from_numpy(levels).double() / 255


def batch_of(victim: Any, images: Tensor, settings: CoAttackSettings, **others: Any) -> Batch:
    """A batch on `PROMPTS`, which are adversarial already; the images have the numbers 10, 11, ..."""
    features = victim.embed_texts(PROMPTS) if isinstance(victim, Clip) else victim.prompts

    def unused(x: Tensor) -> Tensor:
        raise AssertionError("this attack does not ask for logits")

    made: dict[str, Any] = {
        "victim": victim, "images": images, "labels": LABELS, "indices": range(10, 10 + len(images)), "seed": 7,
        "settings": settings, "logits": unused, "answer": unused, "class_features": {"text": features}.__getitem__,
    }  # fmt: skip
    return Batch(**{**made, **others})


def adv_images(batch: Batch) -> Tensor:
    assert CO_ATTACK.images
    return CO_ATTACK.images(batch)


def start_of(images: Tensor, settings: CoAttackSettings) -> Tensor:
    """PGD's own start of these images, without its signs."""
    return random_start(settings, images, indices=range(10, 10 + len(images)), seed=7).abs()


class Still:
    """What sees nothing."""

    prompts = torch.zeros(5, 4)

    def encode_images(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 4)


def written_out(plain: Plain, images: Tensor, settings: CoAttackSettings, *, delta: Tensor) -> Tensor:
    """Zhang et al., 2022, one image at a time: torch's own KL, the sign, the ball and then the box."""
    eps, alpha = (radius(text) for text in (settings.eps, str(settings.alpha)))
    moved = []
    for x, d, label in zip(images.split(1), delta.split(1), LABELS.tolist(), strict=True):
        clean, text, d = plain.encode_images(x).detach(), plain.prompts[label : label + 1], (x + d).clamp(0, 1) - x
        for _ in range(settings.steps):
            d = d.detach().requires_grad_()
            log_q = F.log_softmax(plain.encode_images(x + d), dim=1)
            kl = [F.kl_div(log_q, F.softmax(other, dim=1), reduction="batchmean") for other in (clean, text)]
            (kl[0] + settings.text_weight * kl[1]).backward()
            grad, d = d.grad, d.detach()
            assert grad is not None
            if settings.norm == "linf":
                d = (d + alpha * grad.sign()).clamp(-eps, eps)
            else:
                d = d + alpha * grad / grad.norm()
                d = d * min(1.0, eps / float(d.norm()))
            d = (x + d).clamp(0, 1) - x
        moved.append(x + d)
    return torch.cat(moved)


class Case(NamedTuple):
    norm: str
    eps: str
    alpha: str
    steps: int
    text_weight: float = 3.0
    random_start: bool = True


CASES = [
    Case("linf", "1/255", "1/255", 8),
    Case("linf", "4/255", "1/510", 8),
    Case("linf", "4/255", "1/255", 5, text_weight=0.0),
    Case("linf", "4/255", "1/255", 5, random_start=False),
    Case("l2", "0.5", "0.1", 8),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.norm}-{case.eps}-{case.text_weight:g}")
def test_same_images_as_a_plain_loop(clip: Clip, case: Case) -> None:
    """In double precision no sign of a gradient is in doubt: the same pixels, up to their snapping to the grid."""
    plain, settings = Plain(clip), CoAttackSettings(**case._asdict())
    images = eight_bit(len(LABELS), clip.image_size)
    ours = adv_images(batch_of(plain, images, settings))
    expected = written_out(plain, images, settings, delta=start_of(images, settings))
    assert (expected - images).abs().amax(dim=(1, 2, 3)).min() > (2e-3 if case.norm == "linf" else 5e-4)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-8 if case.norm == "l2" else 1e-3 / 255)


def test_loss_by_hand() -> None:
    """D = 2: f(x) = (1, 0), g(t') = (0, 1) and f(x') = (.6, .8). softmax(1, 0) = (e, 1)/(e + 1); with 30 decimals
    KL(softmax f(x) || softmax f(x')) = .16214747622 and KL(softmax g(t') || softmax f(x')) = .06972404477."""
    clean, text, moved = (torch.tensor([row]) for row in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]))
    for weight, expected in ((0.0, 0.16214747622), (1.0, 0.23187152099), (3.0, 0.37131961052)):
        (value,) = away(moved, clean, text, text_weight=weight).tolist()
        assert value == pytest.approx(expected, abs=2e-8)  # .6 and .8 are single


def test_the_first_term_does_not_drown() -> None:
    """Of two embeddings as close as two images of 1/255 are, single precision knows no divergence: it is of 1e-9."""
    clean = F.normalize(torch.randn(4, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1)
    moved = F.normalize(clean + 1e-3 * clean.roll(1, dims=0), dim=1)
    p, q = (np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True) for rows in (clean.numpy(), moved.numpy()))
    expected = torch.from_numpy((p * np.log(p / q)).sum(axis=1))
    assert expected.max() < 1e-8
    found = away(moved.float(), clean.float(), clean.float(), text_weight=0.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_gradient_is_that_of_finite_differences(clip: Clip) -> None:
    """Of the pixels, through the encoder, in ten random directions."""
    plain, images, rng = Plain(clip), eight_bit(2, clip.image_size), torch.Generator().manual_seed(0)
    clean, adv_texts = plain.encode_images(images).detach(), plain.prompts[LABELS[:2]]

    def loss(x: Tensor) -> Tensor:
        return away(plain.encode_images(x), clean, adv_texts, text_weight=3.0)

    x = images + 0.01 * torch.randn(images.shape, generator=rng).double()
    (gradient,) = torch.autograd.grad(loss(x.requires_grad_()).sum(), x)
    assert (gradient.flatten(1).norm(dim=1) > 1e-5).all()
    for _ in range(10):
        probe, h = torch.randn(images.shape, generator=rng).double(), 1e-6
        slopes = (gradient * probe).sum(dim=(1, 2, 3))
        with torch.no_grad():
            above, below = (loss(x + step * probe) for step in (h, -h))
        torch.testing.assert_close((above - below) / (2 * h), slopes, rtol=1e-5, atol=1e-9)


def test_the_start_is_one_sided_and_of_seed_and_sample() -> None:
    images = torch.full((6, 3, 16, 16), 0.5)
    whole = batch_of(Still(), images, CoAttackSettings(eps="4/255", steps=0))
    delta = adv_images(whole) - images
    assert 0 <= delta.min() < 0.02 / 255 and 3.98 / 255 < delta.max() <= 4.001 / 255
    assert float(delta.mean()) == pytest.approx(2 / 255, rel=0.05)
    alone = replace(whole, images=images[4:5], labels=LABELS[4:5], indices=[14])
    assert torch.equal(adv_images(alone) - images[4:5], delta[4:5])
    assert not torch.equal(adv_images(replace(alone, seed=8)) - images[4:5], delta[4:5])
    assert not torch.equal(adv_images(replace(alone, indices=[15])) - images[4:5], delta[4:5])
    ball = adv_images(replace(whole, settings=CoAttackSettings(norm="l2", eps="0.5", steps=0))) - images
    assert ball.min() >= 0 and 0 < ball.flatten(1).norm(dim=1).max() <= 0.5


def test_an_image_is_left_once_the_adversarial_prompts_fool_it(clip: Clip) -> None:
    """What fools is what the result is judged by. An image that ties is not fooled yet."""
    images = eight_bit(len(LABELS), clip.image_size).float()
    settings = CoAttackSettings(eps="4/255", steps=6, stop_when_fooled=True)
    asked: list[int] = []

    def answer(x: Tensor) -> Tensor:
        """In step 2 (the third question) the first two images fall; all others tie between their class and the last."""
        asked.append(len(x))
        logits = torch.zeros(len(x), 6)
        logits[torch.arange(len(x)), LABELS[-len(x) :]] = logits[:, 5] = 1.0
        if len(asked) == 3:
            logits[:2, 5] = 2.0
        return logits

    stopped = adv_images(batch_of(clip, images, settings, answer=answer))
    assert asked == [6, 6, 6, 4, 4, 4]
    two, six = (adv_images(batch_of(clip, images, CoAttackSettings(eps="4/255", steps=n))) for n in (2, 6))
    torch.testing.assert_close(stopped[:2], two[:2], rtol=0, atol=1e-6)
    torch.testing.assert_close(stopped[2:], six[2:], rtol=0, atol=1e-6)
    assert (two[:2] - six[:2]).abs().max() > 0.5 / 255


@pytest.mark.parametrize("stand_in", ["vit"], indirect=True)
def test_single_precision_changes_next_to_nothing(stand_in: Clip, cifar10: tuple[Tensor, Tensor]) -> None:
    """The same signs but for gradients near zero, on a trained model and real images of its own size."""
    images, settings = cifar10[0][::17], CoAttackSettings(steps=10)
    plain = Plain(stand_in)
    ours = adv_images(batch_of(stand_in, images, settings))
    start = start_of(images.double(), settings)
    expected = written_out(plain, images.double(), settings, delta=start)
    assert ((ours - expected).abs() > 1e-5).double().mean() <= 2e-3


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 1e9])
def test_weights_that_mean_nothing(weight: float) -> None:
    with pytest.raises(UserError, match="text_weight"):
        CoAttackSettings(text_weight=weight)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_evaluated_by_all_adversarial_prompts(home: Home, norm: str) -> None:
    """From the stored images and prompts alone: each prediction again, the prompts of `text`, and the ball."""
    options: dict[str, Any] = {"eps": "16/255"} if norm == "linf" else {"eps": "1"}
    spec = evaluation_spec(
        "vit", ("digits",), ("clean", "text", "co-attack"), mlm="mlm", norm=norm, steps=4, limit=40, batch_size=25,
        **options,
    )  # fmt: skip
    ids = evaluated(spec, home, Accelerator(cpu=True))
    index = Index(home.database_url)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    examples, text = trial.examples("co-attack"), trial.examples("text")
    prompts = examples.texts("adversarial_prompts")
    assert prompts == text.texts("adversarial_prompts") and prompts != trial.texts
    pixels = load_pixels(trial.dataset, "test", trial.indices)
    images, clean = torch.from_numpy(examples.images(0, 40, pixels)), to_unit(pixels, torch.device("cpu"))
    delta = (images - clean).flatten(1)
    reached = delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)
    assert 0.5 * (16 / 255 if norm == "linf" else 1) < reached.max() <= (16 / 255 if norm == "linf" else 1) + 1e-5
    clip = load_subject(trial.subject.run, home)
    with torch.no_grad():
        cosines = clip.encode_images(images) @ clip.embed_texts(prompts).T
    ours = cosines.gather(1, torch.from_numpy(examples.columns("prediction"))[:, None])[:, 0]
    torch.testing.assert_close(ours, cosines.amax(dim=1), rtol=0, atol=1e-6)
    (row,) = [row for row in index.evaluation(ids[2]) if row.metric == "robust_accuracy"]
    assert row.value == pytest.approx(examples.columns("credit").mean()) and set(row.threat) == {"co-attack", "text"}
    assert (row.threat["co-attack"]["text_weight"], row.threat["co-attack"]["norm"]) == (3.0, norm)
    assert evaluated(spec, home, Accelerator(cpu=True)) == ids


def test_its_settings_are_told_and_typed() -> None:
    spec = evaluation_spec("vit", ("digits",), ("co-attack",), text_weight=3)
    assert spec.options == {} and spec.settings(lookup("co-attack")).in_words().endswith("100 steps, text weight 3")
    assert evaluation_spec("vit", ("digits",), ("co-attack",), text_weight=1).options == {"text_weight": 1.0}
