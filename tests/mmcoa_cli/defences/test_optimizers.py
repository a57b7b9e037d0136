"""Optimizers and schedules against their equations by hand, and that a run goes on with the very rates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from mmcoa_cli.catalog import OptimizerRow
from mmcoa_cli.defences.optimizers import make_optimizer, make_schedule

GRADIENTS = [0.5, -1.0, 2.0]


def moved(row: OptimizerRow, *, start: float = 2.0) -> list[float]:
    """A weight after each of three steps with these gradients."""
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer, found = make_optimizer(row, [weight]), []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        found.append(weight.item())
    return found


def adam_by_hand(*, lr: float, decay: float, coupled: bool) -> list[float]:
    """m and v are the decaying means of g and g^2; decay is part of g (coupled, the paper's), or shrinks the weight."""
    w, m, v, (b1, b2), eps = 2.0, 0.0, 0.0, (0.9, 0.98), 1e-6
    found = []
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient + decay * w if coupled else gradient
        w = w if coupled else w * (1 - lr * decay)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w -= lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        found.append(w)
    return found


def test_adam_is_the_papers() -> None:
    assert moved(OptimizerRow(lr=0.1)) == pytest.approx(adam_by_hand(lr=0.1, decay=0.2, coupled=True), rel=1e-12)


def test_adamw_decays_the_weight_itself() -> None:
    row = OptimizerRow("adamw", lr=0.1)
    assert moved(row) == pytest.approx(adam_by_hand(lr=0.1, decay=0.2, coupled=False), rel=1e-12)


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, None), (0.0, None), (0.5, 0.1)])
def test_sgd_with_momentum(momentum: float, decay: float | None) -> None:
    w, velocity, expected = 2.0, 0.0, []
    for number, gradient in enumerate(GRADIENTS):
        g = gradient + (decay or 0.0) * w
        velocity = g if number == 0 else momentum * velocity + g
        w -= 0.1 * velocity
        expected.append(w)
    assert moved(OptimizerRow("sgd", lr=0.1, momentum=momentum, weight_decay=decay)) == pytest.approx(expected)


def rates(row: OptimizerRow, *, done: int = 0, epochs: int = 10, an_epoch: int = 1) -> list[float]:
    """The learning rate of each step after the first `done` epochs."""
    optimizer = make_optimizer(row, [nn.Parameter(torch.zeros(1))])
    schedule, found = make_schedule(row, optimizer, taken=done * an_epoch, epochs=epochs, an_epoch=an_epoch), []
    for _ in range(done * an_epoch, epochs * an_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate() -> None:
    assert rates(OptimizerRow(lr=0.3)) == [0.3] * 10


def test_a_warm_up_is_linear() -> None:
    assert rates(OptimizerRow(lr=0.4, warmup_steps=4)) == pytest.approx([0.1, 0.2, 0.3, *[0.4] * 7])


def test_a_cosine_with_warm_up() -> None:
    """A half and all of it while it warms up, then (1 + cos(pi t / 8)) / 2 of it at the t-th of the 8 steps left."""
    falling = [0.4 * (1 + math.cos(math.pi * t / 8)) / 2 for t in range(8)]
    assert rates(OptimizerRow(lr=0.4, schedule="cosine", warmup_steps=2)) == pytest.approx([0.2, 0.4, *falling])


def test_a_rate_that_is_held_for_an_epoch() -> None:
    """AdvPT's, which is CoOp's: 1e-5 in the first epoch, then the cosine of all steps from its beginning."""
    falling = [0.4 * (1 + math.cos(math.pi * t / 12)) / 2 for t in range(9)]
    row = OptimizerRow("sgd", lr=0.4, schedule="cosine", held_epochs=1, held_lr=1e-5)
    assert rates(row, epochs=4, an_epoch=3) == pytest.approx([1e-5] * 3 + falling)
    assert rates(row, epochs=4, an_epoch=3, done=2) == rates(row, epochs=4, an_epoch=3)[6:]


def test_a_warmup_fits_its_run() -> None:
    """Ten steps: half of them may be a warm-up, a longer one is a tenth of them."""
    assert rates(OptimizerRow(lr=0.4, warmup_steps=5))[:7] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4, 0.4])
    assert rates(OptimizerRow(lr=0.4, warmup_steps=6)) == pytest.approx([0.4] * 10)
    assert OptimizerRow(warmup_steps=1000).warmup_in(3910) == 1000  # of vp on CIFAR-10
    assert OptimizerRow(warmup_steps=1000).warmup_in(30) == 3 and OptimizerRow().warmup_in(1) == 0


@pytest.mark.parametrize(("warmup", "every"), [(1000, 3910), (3, 30), (0, 7)])
def test_tecoas_cosine(warmup: int, every: int) -> None:
    """`cosine_lr` of its code, which open_clip has."""
    from open_clip_train.scheduler import cosine_lr

    weight = nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer(row := OptimizerRow("sgd", lr=40.0, schedule="cosine", warmup_steps=warmup), [weight])
    published = cosine_lr(optimizer, row.lr, row.warmup_in(every), every)
    expected = [published(step) for step in range(every)]
    assert rates(row, epochs=every) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("done", [1, 3, 9])
@pytest.mark.parametrize(
    "options", [{}, {"warmup_steps": 4}, {"schedule": "cosine", "warmup_steps": 2}, {"held_epochs": 2, "held_lr": 0.1}]
)
def test_a_run_goes_on_with_the_rates_of_one_that_went_through(options: dict[str, Any], done: int) -> None:
    row = OptimizerRow("sgd", lr=0.37, **options)
    assert rates(row, done=done) == rates(row)[done:]
