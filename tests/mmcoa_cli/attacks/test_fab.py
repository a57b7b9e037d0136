"""FAB by hand, on a model whose plane is known: where its iterates lie, and what counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmcoa_cli.attacks import fab
from mmcoa_cli.attacks.autoattack import AutoAttackSettings, Standing

AWAY = {"linf": 0.08 / 4, "l2": 0.08 / 6**0.5}  # of the plane <(1, -2, 1), delta> = .08 from the image


def classify(x: Tensor) -> Tensor:
    """z_1 - z_0 = <(1, -2, 1), x> - .08, of images of one pixel."""
    lead = (x.flatten(1) * torch.tensor([1.0, -2.0, 1.0], dtype=x.dtype)).sum(dim=1) - 0.08
    return torch.stack([torch.zeros_like(lead), lead], dim=1)


def reached(norm: str, steps: int, eps: float) -> float:
    """How far the image is that comes out, in units of the distance to the plane."""
    images = torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64)
    settings = AutoAttackSettings(norm=norm, eps=repr(eps * AWAY[norm]), steps=steps, members="fab-t", targets=1)
    label, other = torch.tensor([0]), torch.tensor([[1]])
    found = fab.targeted(Standing(classify, images, label, other, [0], settings, 0, lambda: None))
    delta = (found - images).flatten(1)
    return float(delta.abs().max() if norm == "linf" else delta.norm()) / AWAY[norm]


@pytest.mark.parametrize("norm", AWAY)
def test_iterates_by_hand(norm: str) -> None:
    """First 1.05 of the way: fooled, and back to .9 of that, .945. Then .055 are left: .945 + 1.05 * .055 = 1.00275,
    with the bias a = .055 / (.055 + 1) towards 1.05: 1.00275 (1 - a) + 1.05 a = 1.0052133."""
    assert reached(norm, 1, 1.06) == pytest.approx(1.05, abs=1e-6)
    assert reached(norm, 2, 1.02) == pytest.approx(1.0052133, abs=1e-6)


@pytest.mark.parametrize("norm", AWAY)
def test_what_counts_is_what_fools_inside_the_ball(norm: str) -> None:
    """1.05 is outside of 1.01, where the published code gives up; brought back to 1.01 the image still fools."""
    assert reached(norm, 1, 1.01) == pytest.approx(1.01, abs=1e-6)
    assert reached(norm, 100, 0.99) == 0
