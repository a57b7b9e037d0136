"""Square Attack: Algorithm 3 written out for one image, bumps by hand, and where the truth is known: a linear model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcoa_cli.attacks.autoattack import AutoAttackSettings, Standing
from mmcoa_cli.attacks.square import MOVES, bump, mass_moved, square, square_moved

SIDE = 8


def test_bumps_by_hand() -> None:
    """A row of 1/4, 1 + 1/4, 1/4 against two: all 1/4 but the middle of the second, 1 + 1/4; each of unit length."""
    one, two = 1.6875**0.5, 1.875**0.5
    expected = np.array([[0.25, 1.25, 0.25]]) / one, -np.array([[0.25] * 3, [0.25, 1.25, 0.25]]) / two
    np.testing.assert_allclose(bump(3).numpy(), np.concatenate(expected) / 2**0.5, atol=1e-15)
    assert bump(1).tolist() == [[-1.0]] and float(bump(7).norm()) == pytest.approx(1)


def algorithm_3(found: Any, image: Any, eps: float, draws: Any, length: int) -> Any:
    """One image, (c, w, w), step by step with the paper's names."""
    nu, (c, w, _) = found - image, image.shape
    r1, s1, r2, s2 = (int(np.floor(u * (w - length + 1))) for u in draws[:4])
    eta = bump(length).numpy()
    eta = eta.T if draws[4] > 0.5 else eta
    unused = eps**2 - (nu**2).sum()
    after = nu.copy()
    for i in range(c):
        rho = 1 if draws[5 + i] > 0.5 else -1
        w1 = nu[i, r1 : r1 + length, s1 : s1 + length]
        temp = rho * eta + w1 / np.linalg.norm(w1)
        union = np.zeros((w, w), bool)
        union[r1 : r1 + length, s1 : s1 + length] = union[r2 : r2 + length, s2 : s2 + length] = True
        available = np.sqrt((nu[i][union] ** 2).sum() + unused / c)
        after[i, r2 : r2 + length, s2 : s2 + length] = 0
        after[i, r1 : r1 + length, s1 : s1 + length] = temp / np.linalg.norm(temp) * available
    return after


@pytest.mark.parametrize(("share", "length"), [(0.01, 3), (0.3, 5), (0.8, 7)])
def test_mass_moves_as_in_algorithm_3(share: float, length: int) -> None:
    """Windows of any place and overlap; eps is reached again to the last bit of it."""
    rng, eps = np.random.default_rng(length), 0.3
    images, draws = rng.uniform(0.4, 0.6, (40, 3, SIDE, SIDE)), rng.random((40, 8))
    delta = rng.normal(size=images.shape)
    delta *= rng.uniform(0.5, 1, (40, 1, 1, 1)) * eps / np.sqrt((delta**2).sum(axis=(1, 2, 3), keepdims=True))
    found = mass_moved(
        *(torch.from_numpy(part) for part in (images + delta, images)), eps, torch.from_numpy(draws), share
    )
    for row in range(40):
        expected = algorithm_3(images[row] + delta[row], images[row], eps, draws[row], length)
        assert np.linalg.norm(expected) == pytest.approx(eps)
        np.testing.assert_allclose(found[row].numpy(), np.clip(images[row] + expected, 0, 1), atol=1e-12)


@pytest.mark.parametrize("norm", MOVES)
def test_squares_reach_every_edge(norm: str) -> None:
    """The published code's never reach the far ones, which makes it weaker."""
    images = torch.full((2, 3, SIDE, SIDE), 0.5, dtype=torch.float64)
    draws = torch.full((2, 8 if norm == "l2" else 5), 0.25, dtype=torch.float64)
    draws[0, :2], draws[1, :2] = 0.0, 0.999
    move = mass_moved if norm == "l2" else square_moved
    changed = (move(images, images, 0.1, draws, 0.1) != images).any(dim=1)
    assert bool(changed[0, 0, 0]) and bool(changed[1, -1, -1]) and not bool(changed[0, -1, -1])


def standing(classify: Any, images: Tensor, settings: AutoAttackSettings) -> Standing:
    labels = classify(images).argmax(dim=1)
    return Standing(classify, images, labels, labels[:, None], range(len(images)), settings, 0, lambda: None)


@pytest.mark.parametrize(("classes", "eps"), [(2, 0.3), (3, 0.3), (10, 0.15)])
def test_in_l2_it_finds_most_of_what_there_is_and_nothing_more(classes: int, eps: float) -> None:
    rng = np.random.default_rng(classes)
    weights = rng.normal(size=(classes, 3 * SIDE * SIDE))
    images = torch.from_numpy(rng.uniform(0.3, 0.7, (40, 3, SIDE, SIDE)))

    def classify(x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ torch.from_numpy(weights).T

    start = standing(classify, images, AutoAttackSettings(norm="l2", eps=str(eps), members="square", queries=200))
    found = square(start)
    assert float((found - images).flatten(1).norm(dim=1).max()) <= eps + 1e-9
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    z = classify(images).numpy()
    robust = []
    for logits, y in zip(z, start.labels.tolist(), strict=True):
        apart = np.linalg.norm(weights[y] - np.delete(weights, y, axis=0), axis=1)
        robust.append(bool(((logits[y] - np.delete(logits, y)) > eps * apart).all()))
    stands = classify(found).argmax(dim=1) == start.labels
    fooled, possible = 40 - int(stands.sum()), 40 - sum(robust)
    assert all(still for still, truth in zip(stands.tolist(), robust, strict=True) if truth)
    assert 0.4 * possible < fooled < 40


@pytest.mark.parametrize("side", [1, 2, 5, 8, 18, 32])
def test_images_of_any_side(side: int) -> None:
    images = torch.full((3, 3, side, side), 0.5)
    settings = AutoAttackSettings(norm="l2", eps="0.1", members="square", queries=20)
    found = square(standing(lambda x: x.flatten(2).sum(dim=2), images, settings))
    assert bool(torch.isfinite(found).all()) and float((found - images).flatten(1).norm(dim=1).max()) <= 0.1 + 1e-6
