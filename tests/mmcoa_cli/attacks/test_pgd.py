"""PGD against torchattacks and foolbox from the same start, and what must hold for any seed, radius and batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import foolbox
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcoa_cli.attacks.pgd import PgdSettings, pgd, pgd_iterates, radius, snap_to_grid
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.models.clip import Clip
from store.errors import UserError

CLASSES = 5
NAMES = [f"number {k}" for k in range(CLASSES)]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def random_images(n: int, size: int = 24, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """8-bit images with a good share of black and white pixels, where the image box cuts the ball."""
    rng = np.random.default_rng(seed)
    levels = np.clip(rng.integers(-60, 316, size=(n, 3, size, size)), 0, 255)
    return torch.from_numpy(levels).float() / 255, torch.from_numpy(rng.integers(0, CLASSES, size=n))


def classifier(clip: Clip, names: Sequence[str] = NAMES) -> Callable[[Tensor], Tensor]:
    """The one the project attacks: f of pixels against g of the class prompts, with the temperature."""
    text_features = clip.embed_texts([f"This is a photo of a {name}" for name in names])
    return lambda images: clip.scale.detach() * clip.encode_images(images) @ text_features.T


def undecided(classify: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[Tensor], Tensor]:
    """The classifier with its bias taken out: random weights say the same class of all images, this one does not."""
    with torch.no_grad():
        mean = classify(images).mean(dim=0)
    return lambda x: classify(x) - mean


class Plain(nn.Module):
    """The same classifier in double precision, written out: resize, normalisation, encoder, cosines, temperature."""

    def __init__(self, clip: Clip, names: Sequence[str] = NAMES) -> None:
        super().__init__()
        self.clip = copy.deepcopy(clip).double()
        texts = self.clip.tokenizer([f"This is a photo of a {name}" for name in names])
        self.texts = self.clip.model.encode_text(texts, normalize=True).detach()

    def forward(self, images: Tensor) -> Tensor:
        size = self.clip.image_size
        if images.shape[-1] > size:
            images = F.interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
        elif images.shape[-1] < size:
            images = F.interpolate(images, (size, size), mode="bicubic", align_corners=False)
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64).view(3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64).view(3, 1, 1)
        features = self.clip.model.encode_image((images - mean) / std, normalize=True)
        return self.clip.model.logit_scale.detach().exp() * features @ self.texts.T


class Peer(NamedTuple):
    norm: str
    eps: str
    alpha: str
    steps: int


PEERS = [
    Peer("linf", "1/255", "1/255", 6),
    Peer("linf", "4/255", "1/255", 6),
    Peer("linf", "0.5/255", "1/1020", 4),
    Peer("linf", "8/255", "3/255", 4),
    Peer("l2", "0.5", "0.1", 6),
    Peer("l2", "1/4", "1", 4),
]


def torchattacks_start(images: Tensor, peer: Peer) -> Tensor:
    """The start that torchattacks draws next from torch's own generator."""
    if peer.norm == "linf":
        return torch.empty_like(images).uniform_(-radius(peer.eps), radius(peer.eps))
    delta = torch.empty_like(images).normal_()
    lengths = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return delta * (torch.zeros_like(lengths).uniform_(0, 1) / lengths * radius(peer.eps))


def by_torchattacks(model: nn.Module, images: Tensor, labels: Tensor, *, peer: Peer, start: Tensor | None) -> Tensor:
    """torchattacks draws its start itself: `start` must be what `torchattacks_start` gave for the seed set here."""
    reason = "needs torchattacks: pip install --no-deps torchattacks (it pins a version of requests)"
    torchattacks = pytest.importorskip("torchattacks", reason=reason)
    torch.manual_seed(7)
    kind = torchattacks.PGD if peer.norm == "linf" else torchattacks.PGDL2
    attack = kind(
        model, eps=radius(peer.eps), alpha=radius(peer.alpha), steps=peer.steps, random_start=start is not None
    )
    adv_images: Tensor = attack(images, labels)
    return adv_images


def by_foolbox(model: nn.Module, images: Tensor, labels: Tensor, *, peer: Peer, start: Tensor | None) -> Tensor:
    """foolbox from a given start."""
    import eagerpy

    base = foolbox.attacks.LinfPGD if peer.norm == "linf" else foolbox.attacks.L2PGD

    class FromStart(base):  # type: ignore[misc, valid-type]
        def get_random_start(self, x0: eagerpy.Tensor, epsilon: float) -> eagerpy.Tensor:
            return x0 + eagerpy.astensor(start)

    attack = FromStart(abs_stepsize=radius(peer.alpha), steps=peer.steps, random_start=start is not None)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    adv_images: Tensor = attack.run(wrapped, images, labels, epsilon=radius(peer.eps))
    return adv_images


@pytest.mark.parametrize("start_inside", [False, True], ids=["from-image", "from-inside"])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: f"{peer.norm}-{peer.eps}")
@pytest.mark.parametrize("library", [by_torchattacks, by_foolbox])
def test_same_images_as_the_libraries(clip: Clip, library: Callable[..., Tensor], peer: Peer, start_inside: bool):
    """In double precision no sign of a gradient is in doubt, so every element must be the same."""
    model = Plain(clip).eval()
    images, labels = random_images(4)
    images = images.double()
    torch.manual_seed(7)
    start = torchattacks_start(images, peer) if start_inside else torch.zeros_like(images)
    theirs = library(model, images, labels, peer=peer, start=start if start_inside else None)
    attack = PgdSettings(peer.norm, peer.eps, peer.alpha, peer.steps)
    *_, ours = pgd_iterates(model, images, labels, settings=attack, start=start)
    assert (ours - images).abs().max() > 0.4 * radius(peer.eps) / (1 if peer.norm == "linf" else 100)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("peer", [PEERS[0], PEERS[4]], ids=lambda peer: f"{peer.norm}-{peer.eps}")
def test_same_images_as_the_libraries_on_cifar10(stand_in: Clip, cifar10: tuple[Tensor, Tensor], peer: Peer):
    """Trained models and real images, in double precision again: in single precision x + delta rounds differently
    here and there, which turns a ReLU of the ResNet on or off, and with it the sign of some small gradients."""
    images, labels = (part[::10] for part in cifar10)
    model = Plain(stand_in, CIFAR10).eval()
    images = images.double()
    torch.manual_seed(7)
    start = torchattacks_start(images, peer)
    attack = PgdSettings(peer.norm, peer.eps, peer.alpha, peer.steps)
    *_, ours = pgd_iterates(model, images, labels, settings=attack, start=start)
    for library in (by_foolbox, by_torchattacks):
        theirs = library(model, images, labels, peer=peer, start=start)
        # torchattacks divides the mean's gradient by its length + 1e-10, ours the sum's: 1e-8 where both are tiny
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9 if peer.norm == "linf" else 1e-7)


@pytest.mark.parametrize("stand_in", ["vit"], indirect=True)
def test_single_precision_and_the_grid_change_next_to_nothing(stand_in: Clip, cifar10: tuple[Tensor, Tensor]):
    """`pgd` as evaluations run it against PGD in double precision: the same pixels but for gradients near zero."""
    images, labels = (part[::2] for part in cifar10)
    attack = PgdSettings(steps=10)
    start = random_start(attack, images, indices=range(len(images)), seed=0)
    ours = pgd(classifier(stand_in, CIFAR10), images, labels, settings=attack, start=start)
    plain = Plain(stand_in, CIFAR10)
    *_, exact = pgd_iterates(plain, images.double(), labels, settings=attack, start=start.double())
    assert ((ours - exact).abs() > 1e-5).double().mean() <= 1e-3
    with torch.no_grad():
        assert (plain(ours.double()).argmax(1) == plain(exact).argmax(1)).all()


@pytest.mark.parametrize("size", [8, 16, 24, 32, 48])
def test_gradient_is_that_of_finite_differences(clip: Clip, size: int):
    """One step of the L2 attack goes along the gradient; the differences are those of the classifier written out in
    double precision, so a resize or a normalisation outside the graph, or another one, would show."""
    plain = Plain(clip)
    images, labels = random_images(2, size, seed=3)
    images = images * 0.8 + 0.1  # away from the box, which would cut the step
    attack = PgdSettings("l2", "1/1000", "1/1000", 1)
    *_, moved = pgd_iterates(classifier(clip), images, labels, settings=attack, start=torch.zeros_like(images))
    direction = (moved - images) * 1000  # gradient / its length

    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(plain(x), labels, reduction="none").detach()

    x, h, rng = images.double(), 1e-5, torch.Generator().manual_seed(0)
    slopes = []
    probes = [direction.double(), *(torch.randn(x.shape, generator=rng).double() for _ in range(4))]
    for probe in probes:
        unit = probe / probe.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        slopes.append((loss(x + h * unit) - loss(x - h * unit)) / (2 * h))
    length = slopes[0]  # along the gradient the slope is the gradient's length
    assert (length > 0).all()
    for probe, slope in zip(probes[1:], slopes[1:], strict=True):
        unit = probe / probe.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        expected = length * (direction * unit).flatten(1).sum(dim=1)
        torch.testing.assert_close(slope, expected, rtol=0, atol=2e-3 * float(length.max()))


class Ball(NamedTuple):
    norm: str
    eps: str
    alpha: str
    steps: int = 4


BALLS = [
    Ball("linf", "0.5/255", "0.25/255"),
    Ball("linf", "1/255", "1/255"),
    Ball("linf", "4/255", "1/255"),
    Ball("linf", "4/255", "3/255"),
    Ball("linf", "0.03", "0.01"),
    Ball("l2", "0.5", "0.2"),
    Ball("l2", "128/255", "1"),
]


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: f"{ball.norm}-{ball.eps}-{ball.alpha}")
def test_inside_the_ball_and_the_box_at_every_step(clip: Clip, ball: Ball):
    attack, eps = PgdSettings(*ball), radius(ball.eps)
    classify = classifier(clip)
    for seed in range(8):
        images, labels = random_images(4, 16, seed=seed)
        start = random_start(attack, images, indices=range(4), seed=seed)
        count = 0
        for adv_images in pgd_iterates(classify, images, labels, settings=attack, start=start):
            count += 1
            assert adv_images.min() >= 0 and adv_images.max() <= 1
            delta = (adv_images.double() - images.double()).flatten(1)
            assert (delta.abs().max() if ball.norm == "linf" else delta.norm(dim=1).max()) <= eps + 2e-7
        assert count == ball.steps + 1


@pytest.mark.parametrize("ball", BALLS[1:4], ids=lambda ball: f"{ball.norm}-{ball.eps}-{ball.alpha}")
def test_whole_levels_stay_whole_levels(clip: Clip, ball: Ball):
    """From the image itself every iterate is an 8-bit image, and no more than eps levels away: exactly."""
    attack, levels = PgdSettings(*ball), int(radius(ball.eps) * 255 + 0.5)
    images, labels = random_images(8)
    adv_images = pgd(classifier(clip), images, labels, settings=attack, start=torch.zeros_like(images))
    steps = (adv_images * 255).round()
    assert torch.equal(adv_images, steps / 255)
    assert (steps - (images * 255).round()).abs().max() == levels


def test_snap_moves_only_float_noise():
    levels = torch.arange(256).float()
    noise = torch.tensor([-9e-4, -1e-4, 0.0, 1e-4, 9e-4]).view(-1, 1)
    assert torch.equal(snap_to_grid(((levels + noise) / 255)[:, 1:-1]), (levels / 255).expand(5, -1)[:, 1:-1])
    between = (levels[:-1] + 0.01) / 255
    assert torch.equal(snap_to_grid(between), between)


@pytest.mark.parametrize("ball", BALLS[2:6:3], ids=lambda ball: ball.norm)
def test_a_sample_depends_on_no_other(clip: Clip, ball: Ball):
    """Sample 5 in a batch of 8, in another order, and alone: the same up to rounding."""
    attack, classify = PgdSettings(*ball), classifier(clip)
    images, labels = random_images(8)

    def attacked(rows: list[int]) -> Tensor:
        start = random_start(attack, images[rows], indices=[100 + row for row in rows], seed=1)
        return pgd(classify, images[rows], labels[rows], settings=attack, start=start)

    together = attacked(list(range(8)))[5]
    for rows in ([5], [5, 5], [7, 5, 0], [6, 4, 5]):
        ours = attacked(rows)[rows.index(5)]
        assert ((ours - together).abs() > 1e-5).float().mean() <= 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_is_the_same_in_any_batch(norm: str):
    attack, images = PgdSettings(norm, "2/255", "1/255"), torch.zeros(6, 3, 8, 8)
    indices = [3, 1, 4, 1, 59, 2**40]
    together = random_start(attack, images, indices=indices, seed=2)
    alone = [random_start(attack, images[:1], indices=[index], seed=2)[0] for index in indices]
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together[1], together[3])
    assert len({row.numpy().tobytes() for row in together}) == 5
    for other in ({"seed": 3}, {"seed": 2, "epoch": 1}):
        assert not torch.equal(random_start(attack, images, indices=indices, **other), together)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    random_start(attack, images, indices=indices, seed=2)
    assert torch.equal(torch.rand(1), expected)  # nothing drawn from the global generator


def test_random_start_linf_is_uniform_in_the_ball():
    images = torch.full((40, 3, 16, 16), 0.5)
    start = random_start(PgdSettings(eps="4/255"), images, indices=range(40), seed=0) * 255 / 4
    assert start.abs().max() <= 1
    counts = torch.histc(start, bins=10, min=-1, max=1)
    n = start.numel()
    assert ((counts - n / 10).abs() < 5 * math.sqrt(n * 0.1 * 0.9)).all()


def test_random_start_l2_has_a_uniform_radius_and_direction():
    n = 2000
    images = torch.full((n, 3, 4, 4), 0.5)
    start = random_start(PgdSettings("l2", "0.5", "0.1"), images, indices=range(n), seed=0).flatten(1)
    radii = start.norm(dim=1) / 0.5
    assert radii.max() <= 1
    counts = torch.histc(radii, bins=10, min=0, max=1)
    assert ((counts - n / 10).abs() < 5 * math.sqrt(n * 0.1 * 0.9)).all()
    directions = start / start.norm(dim=1, keepdim=True)
    # of unit vectors in d dimensions every coordinate has mean 0 and mean square 1/d
    d = start.shape[1]
    assert (directions.mean(dim=0).abs() < 5 * math.sqrt(1 / d / n)).all()
    torch.testing.assert_close(directions.square().mean(dim=0), torch.full((d,), 1 / d), rtol=0.25, atol=0)


def test_without_random_start_the_attack_begins_at_the_image(clip: Clip):
    images, labels = random_images(3)
    attack = PgdSettings(steps=2, random_start=False)
    start = random_start(attack, images, indices=range(3), seed=0)
    assert torch.equal(start, torch.zeros_like(images))
    first, *_ = pgd_iterates(classifier(clip), images, labels, settings=attack, start=start)
    assert torch.equal(first, images)


def test_no_steps_give_the_start(clip: Clip):
    images, labels = random_images(3)
    attack = PgdSettings(eps="4/255", steps=0)
    start = random_start(attack, images, indices=range(3), seed=0)
    adv_images = pgd(classifier(clip), images, labels, settings=attack, start=start)
    torch.testing.assert_close(adv_images, (images + start).clamp(0, 1), rtol=0, atol=5e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_pixel_without_a_gradient_stays(norm: str):
    """Only the upper half is seen by this classifier, and the last image not at all."""
    images, labels = torch.full((3, 3, 8, 8), 0.5), torch.zeros(3, dtype=torch.long)
    weight = torch.randn(2, 3 * 4 * 8, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([1.0, 1.0, 0.0]).view(-1, 1)
    attack = PgdSettings(norm, "4/255", "1/255", 3, random_start=False)
    adv_images = pgd(
        lambda x: (x[:, :, :4].flatten(1) * seen) @ weight.T,
        images, labels, settings=attack, start=torch.zeros_like(images),
    )  # fmt: skip
    assert (adv_images[:2, :, :4] != images[:2, :, :4]).all()
    assert torch.equal(snap_to_grid(adv_images[:, :, 4:]), snap_to_grid(images[:, :, 4:]))
    assert torch.equal(snap_to_grid(adv_images[2]), snap_to_grid(images[2]))
    assert adv_images.isfinite().all()


@pytest.mark.parametrize("norm,eps", [("linf", "8/255"), ("l2", "2")])
def test_stop_when_fooled_leaves_a_fooled_sample_alone(clip: Clip, norm: str, eps: str):
    images, _ = random_images(12)
    classify = undecided(classifier(clip), images)
    with torch.no_grad():
        labels = classify(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % CLASSES  # these are wrong from the beginning
    attack = PgdSettings(norm, eps, "1/255" if norm == "linf" else "0.25", 8, stop_when_fooled=True, random_start=False)
    trajectory = list(pgd_iterates(classify, images, labels, settings=attack, start=torch.zeros_like(images)))
    goes_on = [*pgd_iterates(classify, images, labels, settings=PgdSettings(norm, eps, attack.alpha, 8),
                         start=torch.zeros_like(images))]  # fmt: skip
    with torch.no_grad():
        fooled = torch.stack([classify(x).argmax(1) != labels for x in trajectory])
    assert fooled[0].tolist() == [True] * 3 + [False] * 9
    assert fooled[-1].sum() > 3, "no sample was fooled on the way: the test would show nothing"
    for i in range(12):
        first = int(fooled[:, i].int().argmax()) if fooled[:, i].any() else len(trajectory) - 1
        torch.testing.assert_close(trajectory[first][i], goes_on[first][i], rtol=0, atol=2e-5)
        for later in trajectory[first:]:
            assert torch.equal(later[i], trajectory[first][i])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_model_comes_out_as_it_went_in(clip: Clip, norm: str):
    """No weight gets a gradient or changes, no BatchNorm statistic moves, no input is written to."""
    clip.requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    images, labels = random_images(4)
    attack = PgdSettings(norm, "4/255", "1/255", 3)
    start = random_start(attack, images, indices=range(4), seed=0)
    kept = images.clone(), start.clone()
    adv_images = pgd(classifier(clip), images, labels, settings=attack, start=start)
    assert not adv_images.requires_grad
    assert [name for name, weight in clip.named_parameters() if weight.grad is not None] == []
    assert not any(module.training for module in clip.model.modules())
    for name, tensor in clip.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert torch.equal(images, kept[0]) and torch.equal(start, kept[1])


def test_the_attack_raises_the_loss(clip: Clip):
    images, _ = random_images(16)
    classify = undecided(classifier(clip), images)
    with torch.no_grad():
        labels = classify(images).argmax(1)
    attack = PgdSettings(eps="8/255", alpha="2/255", steps=10)
    start = random_start(attack, images, indices=range(16), seed=0)
    adv_images = pgd(classify, images, labels, settings=attack, start=start)
    with torch.no_grad():
        before, after = (F.cross_entropy(classify(x), labels, reduction="none") for x in (images, adv_images))
    assert (after > before).all()


class Radius(NamedTuple):
    text: str
    value: float


@pytest.mark.parametrize(
    "given", [Radius("1/255", 1 / 255), Radius("0.5/255", 0.5 / 255), Radius("0.01", 0.01), Radius("2", 2.0)]
)
def test_radius_reads(given: Radius):
    assert radius(given.text) == pytest.approx(given.value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "eps", "1/0", "0", "-1/255", "nan", "inf", "1e999", "1/2/3", "1//255"])
def test_radius_refuses(text: str):
    with pytest.raises(UserError):
        radius(text)


@pytest.mark.parametrize(
    "options", [{"norm": "l1"}, {"steps": -1}, {"eps": "1"}, {"eps": "8"}, {"alpha": "1"}, {"alpha": "0"}]
)
def test_an_attack_that_makes_no_sense_is_refused(options: dict[str, object]):
    with pytest.raises(UserError):
        PgdSettings(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options,stays",
    [
        ({}, True),
        ({"eps": "4/255"}, True),
        ({"eps": "0.5/255"}, False),
        ({"alpha": "0.25/255"}, False),
        ({"eps": "0.01"}, False),
        ({"norm": "l2"}, False),
    ],
)
def test_only_whole_levels_stay_on_the_grid(options: dict[str, str], stays: bool):
    assert PgdSettings(**options).stays_on_grid is stays
