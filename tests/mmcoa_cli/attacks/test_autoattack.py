"""AutoAttack where the truth is known: linear models, Algorithm 1 written out for one image, planes by a solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from scipy.optimize import brentq, linprog
from torch import Tensor

from mmcoa_cli.attacks import lookup
from mmcoa_cli.attacks.apgd import apgd, dlr, targeted_dlr
from mmcoa_cli.attacks.autoattack import AutoAttackSettings, Standing, adv_images
from mmcoa_cli.attacks.base import Batch
from mmcoa_cli.attacks.fab import _onto_plane
from mmcoa_cli.attacks.radii import radius
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.reports import threats
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.settings_options import fields_of, parse
from store.errors import UserError
from store.index import Index

from ..jobs.conftest import evaluated

SIDE, PIXELS = 6, 3 * 6 * 6
Classifier = Callable[[Tensor], Tensor]


def linear(classes: int, *, seed: int = 0, scale: float = 1.0) -> tuple[Classifier, Tensor]:
    """A linear model in double precision, and its weights (K, D)."""
    rng = np.random.default_rng(seed)
    weights = torch.from_numpy(rng.normal(size=(classes, PIXELS)))
    return lambda x: scale * (x.flatten(1) - 0.5) @ weights.T, weights


def curved(classes: int, *, seed: int = 0) -> Classifier:
    rng = np.random.default_rng(seed)
    first, second = (torch.from_numpy(rng.normal(size=size)) for size in ((40, PIXELS), (classes, 40)))
    return lambda x: torch.tanh((x.flatten(1) - 0.5) @ first.T) @ second.T


def grey(n: int, *, seed: int = 1) -> Tensor:
    """Images that no radius below reaches the box from."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.3, 0.7, size=(n, 3, SIDE, SIDE)))


class Named:
    name = "toy"


def batch_of(classify: Classifier, images: Tensor, settings: AutoAttackSettings, **others: Any) -> Batch:
    """A batch whose labels are what the model says of the clean images."""
    with torch.no_grad():
        logits = classify(images)
    made: dict[str, Any] = {
        "victim": Named(), "images": images, "labels": logits.argmax(dim=1), "indices": range(len(images)), "seed": 0,
        "settings": settings.for_texts(logits.shape[1]), "logits": classify, "answer": classify,
        "class_features": {}.__getitem__,
    }  # fmt: skip
    return Batch(**{**made, **others})


def stands(classify: Classifier, batch: Batch, images: Tensor) -> list[bool]:
    with torch.no_grad():
        found: list[bool] = (classify(images).argmax(dim=1) == batch.labels).tolist()
    return found


def robust(weights: Tensor, images: Tensor, labels: Tensor, *, norm: str, eps: float) -> list[bool]:
    """The truth of a linear model: z_y - z_k > eps |w_y - w_k| in the dual norm, for every other class k."""
    x, w = images.flatten(1).numpy() - 0.5, weights.numpy()
    found = []
    for row, y in zip(x, labels.tolist(), strict=True):
        apart = w[y] - np.delete(w, y, axis=0)
        reach = eps * (np.abs(apart).sum(axis=1) if norm == "linf" else np.linalg.norm(apart, axis=1))
        found.append(bool((apart @ row > reach).all()))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("members", ["apgd", "fab-t"])
@pytest.mark.parametrize("classes", [2, 3, 8])
def test_the_truth_of_a_linear_model(norm: str, members: str, classes: int) -> None:
    classify, weights = linear(classes)
    settings = AutoAttackSettings(norm=norm, eps="2/255" if norm == "linf" else "0.05", steps=40, members=members)
    images = grey(60)
    batch = batch_of(classify, images, settings)
    found = adv_images(batch)
    truth = robust(weights, images, batch.labels, norm=norm, eps=radius(settings.eps))
    assert stands(classify, batch, found) == truth and 5 < sum(truth) < 55
    delta = (found - images).flatten(1)
    assert (
        float((delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)).max()) <= radius(settings.eps) + 1e-9
    )
    assert [bool((row == 0).all()) for row in delta] == truth  # what stands is clean


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_square_finds_most_of_what_there_is_and_nothing_more(classes: int) -> None:
    """Of a model that is a staircase, whose gradients are 0 everywhere."""
    smooth, weights = linear(classes)

    def stairs(x: Tensor) -> Tensor:
        return (smooth(x) * 20).round() / 20 + 0 * smooth(x)

    images, settings = grey(40), AutoAttackSettings(eps="4/255", members="square", queries=800)
    batch = batch_of(stairs, images, settings)
    found = adv_images(batch)
    standing, truth = stands(stairs, batch, found), robust(weights, images, batch.labels, norm="linf", eps=4 / 255)
    assert (found - images).abs().max() <= 4 / 255 + 1e-9
    possible, fooled = 40 - sum(truth), 40 - sum(standing)
    assert 0.5 * possible < fooled <= possible + 2  # a stair is up to .05 wide
    blind = AutoAttackSettings(eps="4/255", members="apgd-ce", steps=10).for_texts(classes)
    assert sum(standing) < sum(stands(stairs, batch, adv_images(replace(batch, settings=blind))))


def written_out(
    classify: Classifier, x0: Tensor, y: int, *, settings: AutoAttackSettings, start: Tensor
) -> list[Tensor]:
    """Algorithm 1 of Croce and Hein, 2020, on the cross-entropy of one image in L-inf: every iterate. The checkpoints
    are the paper's w_j = ceil(p_j N); p_0 = 0, p_1 = .22, p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06)."""
    eps, steps, p = radius(settings.eps), settings.steps, [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(round(share * steps, 6)) for share in p]

    def look(x: Tensor) -> tuple[float, Tensor]:
        x = x.clone().requires_grad_()
        value = F.cross_entropy(classify(x[None]), torch.tensor([y]))
        value.backward()
        assert x.grad is not None
        return value.item(), x.grad

    def project(x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, x0 - eps), x0 + eps).clamp(0, 1)

    eta, iterates, values = 2 * eps, [start], []
    before = x = best = start
    f_max, grad = look(start)
    grad_best, at_last, values = grad, [2 * eps * 2, f_max], [0.0]
    for k in range(steps):
        z = project(x + eta * grad.sign())
        a = 0.75 if k else 1.0
        x, before = project(x + a * (z - x) + (1 - a) * (x - before)), x
        value, grad = look(x)
        iterates.append(x)
        values.append(value)
        if value > f_max:
            best, f_max, grad_best = x, value, grad
        if k + 1 in w:
            last = w[w.index(k + 1) - 1]
            gained = sum(values[i + 1] > values[i] for i in range(last, k + 1))
            stuck = at_last[0] == eta and at_last[1] == f_max
            at_last = [eta, f_max]
            if gained <= 0.75 * (k + 1 - last) or stuck:
                eta, x, grad = eta / 2, best, grad_best
    return iterates


def test_the_iterates_are_those_of_algorithm_1() -> None:
    """Of images that no step fools: the labels are those that no logit comes near."""
    smooth, images, settings = curved(5), grey(6), AutoAttackSettings(eps="8/255")

    def classify(x: Tensor) -> Tensor:
        z = smooth(x)
        return torch.cat([z[:, :4], z[:, 4:].abs() + z.detach().abs().amax(dim=1, keepdim=True)], dim=1)

    labels, seen = torch.full((6,), 4), list[Tensor]()

    def spied(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return classify(x)

    standing = Standing(spied, images, labels, torch.zeros(6, 4).long(), range(6), settings, 0, lambda: None)
    found, fooled = apgd(standing, lambda z, rows: F.cross_entropy(z, labels[rows], reduction="none"), draw=0)
    assert not fooled.any() and torch.equal(found, images) and len(seen) == 101
    delta = (seen[0] - images).flatten(1)
    torch.testing.assert_close(delta.abs().amax(dim=1), torch.full((6,), 8 / 255).double())  # from the surface
    for number, image in enumerate(images):
        expected = written_out(classify, image, 4, settings=settings, start=seen[0][number])
        ours = [x[number] for x in seen]
        torch.testing.assert_close(torch.stack(ours), torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", "8/255"), ("l2", "0.3")])
def test_the_iterates_are_those_of_torchattacks(
    norm: str, eps: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of images that no step fools, from the same start, which it draws from torch's generators."""
    library = pytest.importorskip("torchattacks", reason="pip install --no-deps torchattacks")
    smooth, images, labels = curved(6), grey(8, seed=2), torch.full((8,), 5)
    settings, seen = AutoAttackSettings(norm=norm, eps=eps, steps=40), list[Tensor]()

    def spied(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        z = smooth(x)
        return torch.cat([z[:, :5], z[:, 5:].abs() + z.detach().abs().amax(dim=1, keepdim=True)], dim=1)

    def objective(z: Tensor, rows: Tensor) -> Tensor:
        return dlr(z, labels[rows]) if loss == "dlr" else F.cross_entropy(z, labels[rows], reduction="none")

    standing = Standing(spied, images, labels, torch.zeros(8, 5).long(), range(8), settings, 0, lambda: None)
    apgd(standing, objective, draw=0)
    ours, direction = torch.stack(seen), (seen[0] - images) / radius(eps)
    seen.clear()
    monkeypatch.setattr(torch, "rand", lambda shape: (direction + 1) / 2)
    monkeypatch.setattr(torch, "randn", lambda shape: direction)
    peer = library.APGD(
        torch.nn.Flatten(), norm={"linf": "Linf", "l2": "L2"}[norm], eps=radius(eps), steps=40, loss=loss
    )
    peer.device, peer.get_logits = torch.device("cpu"), spied
    peer.attack_single_run(images, labels)
    assert len(seen) == 41 and len(set(map(len, seen))) == 1
    torch.testing.assert_close(ours, torch.stack(seen), rtol=0, atol=1e-6)  # it has the step in single precision


def test_ratios_by_hand() -> None:
    """z = (5, 3, 2, 1). y = 0: -(5 - 3) / (5 - 2), with target 2 -(5 - 2) / (5 - (2 + 1) / 2). y = 1: -(3 - 5) / 3."""
    z = torch.tensor([[5.0, 3.0, 2.0, 1.0]] * 2, dtype=torch.float64)
    assert dlr(z, torch.tensor([0, 1])).tolist() == pytest.approx([-2 / 3, 2 / 3], abs=1e-9)
    found = targeted_dlr(z, torch.tensor([0, 1]), torch.tensor([2, 0]))
    assert found.tolist() == pytest.approx([-3 / 3.5, 2 / 3.5], abs=1e-9)
    torch.testing.assert_close(dlr(100 * z, torch.tensor([0, 1])), dlr(z, torch.tensor([0, 1])))


def test_a_model_that_is_too_sure_for_cross_entropy() -> None:
    """Its logits are so far apart that softmax is 1 in single precision: the ratios still see."""
    sure, weights = linear(6, scale=2000.0)

    def classify(x: Tensor) -> Tensor:
        return sure(x.double()).float()

    images, settings = grey(40).float(), AutoAttackSettings(eps="4/255", steps=20)
    batch = batch_of(classify, images, settings)
    blind = adv_images(replace(batch, settings=replace(batch.settings, members="apgd-ce")))
    truth = robust(weights, images.double(), batch.labels, norm="linf", eps=4 / 255)
    both = adv_images(batch)
    assert stands(classify, batch, both) == truth
    assert sum(stands(classify, batch, blind)) > sum(truth) + 5


def test_an_image_is_attacked_alike_in_any_batch() -> None:
    classify, images = curved(12), grey(20)
    settings = AutoAttackSettings(eps="4/255", steps=15, members="standard", queries=50)
    whole = adv_images(batch_of(classify, images, settings))
    some = [3, 7, 11, 19]
    alone = adv_images(batch_of(classify, images[some], settings, indices=some))
    torch.testing.assert_close(alone, whole[some], rtol=0, atol=1e-12)
    assert not torch.equal(adv_images(batch_of(classify, images, settings, seed=1)), whole)
    assert torch.equal(adv_images(batch_of(classify, images, settings)), whole)


def test_each_member_sees_what_stands_and_every_step_is_counted() -> None:
    classify, images = curved(12), grey(30)
    counted, sizes = list[int](), list[int]()

    def spied(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return classify(x)

    batch = batch_of(classify, images, AutoAttackSettings(eps="1/255", steps=5), on_step=lambda: counted.append(1))
    found = adv_images(replace(batch, logits=spied))
    left = sum(stands(classify, batch, found))
    assert 0 < left < 30 and sizes[-2] == left and sizes[-1] == 30  # the last is the check of the whole block
    assert [n for n in sizes if n != 30] == sorted((n for n in sizes if n != 30), reverse=True)
    assert len(counted) == batch.settings.effort == 5 + 9 * 5


def along_normal(at: Any, normal: Any, before: float) -> Any:
    """The point of the plane that is reached along its normal, cut by the box."""

    def moved(t: float) -> Any:
        return np.clip(at + t * normal, 0, 1) - at

    return moved(brentq(lambda t: before + normal @ moved(t), -1e4, 1e4, xtol=1e-13))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_plane_is_reached_on_the_shortest_way(norm: str) -> None:
    rng = np.random.default_rng(2)
    x, w, lead = rng.random((12, 3, 2, 2)), rng.normal(size=(12, 3, 2, 2)), rng.normal(size=12) * 2
    x[x > 0.8], x[x < 0.1], w[np.abs(w) < 0.2] = 1.0, 0.0, 0.0
    found = _onto_plane(*(torch.from_numpy(part) for part in (x, w, lead)), norm).flatten(1).numpy()
    unreachable = 0
    for at, normal, before, delta in zip(x.reshape(12, -1), w.reshape(12, -1), lead, found, strict=True):
        ends = np.where(normal * before < 0, 1 - at, -at) * (normal != 0)
        assert (at + delta >= -1e-12).all() and (at + delta <= 1 + 1e-12).all()
        if abs(before) >= abs(normal @ ends):
            unreachable += 1
            np.testing.assert_allclose(delta, ends, atol=1e-12)
            continue
        assert before + normal @ delta == pytest.approx(0, abs=1e-10)
        if norm == "linf":
            size = len(at)
            bounds = [*zip(-at, 1 - at, strict=True), (0, None)]
            sides = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
            best = linprog([0] * size + [1], A_ub=sides, b_ub=np.zeros(2 * size), A_eq=[[*normal, 0]], b_eq=[-before],
                           bounds=bounds)  # fmt: skip
            assert np.abs(delta).max() == pytest.approx(best.fun, abs=1e-7)
        else:  # the optimum moves by a multiple of the normal, cut by the box
            np.testing.assert_allclose(delta, along_normal(at, normal, before), atol=1e-8)
    assert 0 < unreachable < 12


@pytest.mark.parametrize(
    ("options", "classes", "words"),
    [
        ({}, 10, "L-inf, eps 1/255, APGD-CE, APGD-T (100 steps, 9 targets)"),
        ({}, 5, "L-inf, eps 1/255, APGD-CE, APGD-T (100 steps, 4 targets)"),
        ({}, 3, "L-inf, eps 1/255, APGD-CE, APGD-DLR (100 steps)"),
        ({}, 2, "L-inf, eps 1/255, APGD-CE (100 steps)"),
        ({"norm": "l2", "eps": "0.5", "members": "fab-t"}, 2, "L2, eps 0.5, FAB-T (100 steps, 1 target)"),
        (
            {"members": "standard"},
            100,
            "L-inf, eps 1/255, APGD-CE, APGD-T, FAB-T (100 steps, 9 targets), Square (5,000 queries)",
        ),
        (
            {"norm": "l2", "eps": "0.5", "members": "standard"},
            2,
            "L2, eps 0.5, APGD-CE, FAB-T (100 steps, 1 target), Square (5,000 queries)",
        ),
        ({"members": "square, apgd-dlr"}, 3, "L-inf, eps 1/255, APGD-DLR (100 steps), Square (5,000 queries)"),
        (
            {"members": "square,apgd"},
            10,
            "L-inf, eps 1/255, APGD-CE, APGD-T (100 steps, 9 targets), Square (5,000 queries)",
        ),
    ],
    ids=str,
)
def test_the_members_are_spelled_out(options: dict[str, Any], classes: int, words: str) -> None:
    assert AutoAttackSettings(**options).for_texts(classes).in_words() == words


@pytest.mark.parametrize(
    "options",
    [{"members": "plus"}, {"members": "pgd"}, {"members": "apgd-ce,"}, {"steps": 0}, {"targets": 0}, {"queries": -1},
     {"eps": "8"}],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        AutoAttackSettings(**options)


def test_what_needs_more_classes_than_there_are() -> None:
    with pytest.raises(UserError, match="apgd-dlr is not defined for 2 classes"):
        AutoAttackSettings(members="apgd-dlr").for_texts(2)


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ([], "apgd-ce,apgd-t"),
        (["version=standard"], "apgd-ce,apgd-t,fab-t,square"),
        (["members=square, apgd-ce"], "apgd-ce,square"),
    ],
    ids=str,
)
def test_the_record_says_the_members_and_makes_the_settings_again(home: Home, typed: list[str], recorded: str) -> None:
    """Also where a name on the command line stands for several of them."""
    options = parse(typed, fields_of([AutoAttackSettings]), of="--attack autoattack")
    spec = evaluation_spec("vit", ("digits",), ("autoattack",), **options)
    assert spec.options == ({"members": recorded} if typed else {})
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    section = trial.sections("autoattack")["autoattack"]
    assert (section["version"], section["seed"], section["members"]) == (lookup("autoattack").version, 0, recorded)
    assert threats.settings("autoattack", section) == spec.settings(lookup("autoattack"))


def test_evaluated(home: Home) -> None:
    """No weaker than PGD of the same steps; what it fooled is fooled, also alone, and all others are clean."""
    options: dict[str, Any] = {"eps": "8/255", "alpha": "2/255", "steps": 8, "limit": 60, "batch_size": 25}
    spec = evaluation_spec("vit", ("digits",), ("clean", "image", "autoattack"), **options)
    ids, index = evaluated(spec, home, Accelerator(cpu=True)), Index(home.database_url)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    pixels, examples = load_pixels(trial.dataset, "test", trial.indices), trial.examples("autoattack")
    adv, clean = torch.from_numpy(examples.images(0, 60, pixels)), to_unit(pixels, torch.device("cpu"))
    clip, labels = load_subject(trial.subject.run, home), torch.from_numpy(trial.labels)
    with torch.no_grad():
        standing = (clip.encode_images(adv) @ clip.embed_texts(trial.texts).T).argmax(dim=1) == labels
    assert (adv[standing] == clean[standing]).all() and (adv - clean).abs().max() <= 8 / 255 + 1e-6
    assert examples.columns("credit").tolist() == standing.double().tolist()
    value = {row.attack: row.value for id in ids for row in index.evaluation(id) if "accuracy" in row.metric}
    assert value["autoattack"] == pytest.approx(float(standing.double().mean()))
    assert value["autoattack"] <= value["image"] < value["clean"]
    (row,) = [row for row in index.evaluation(ids[2]) if row.metric == "robust_accuracy"]
    assert set(row.threat) == {"autoattack"} and row.threat["autoattack"]["members"] == "apgd-ce,apgd-t"
