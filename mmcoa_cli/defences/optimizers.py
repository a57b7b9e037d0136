"""The optimizer and the learning rate's schedule of a catalog row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ..catalog import OptimizerRow

Weights = Sequence[nn.Parameter]

MAKE: dict[str, Callable[[Weights, OptimizerRow, bool | None], Optimizer]] = {
    "adam": lambda weights, row, fused: torch.optim.Adam(
        weights, lr=row.lr, betas=row.betas, eps=row.eps, weight_decay=row.decay, fused=fused
    ),
    "adamw": lambda weights, row, fused: torch.optim.AdamW(
        weights, lr=row.lr, betas=row.betas, eps=row.eps, weight_decay=row.decay, fused=fused
    ),
    "sgd": lambda weights, row, fused: torch.optim.SGD(
        weights, lr=row.lr, momentum=row.momentum, weight_decay=row.decay, fused=fused
    ),
}


def make_optimizer(row: OptimizerRow, weights: Weights, *, fast: bool = False) -> Optimizer:
    """Adam couples its weight decay with the gradient, as the released code; AdamW does not. A `fast` one goes over the
    weights once, which rounds otherwise."""
    return MAKE[row.name](weights, row, True if fast else None)


def make_schedule(row: OptimizerRow, optimizer: Optimizer, *, taken: int, epochs: int, an_epoch: int) -> LRScheduler:
    """The schedule of `epochs`, each of `an_epoch` steps, when so many were `taken`. The rate is a function of the
    number of the step alone, so a run that goes on has the very rates of one that went through."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"] = row.lr
    rate = partial(share_of_rate, row, every=epochs * an_epoch, held=row.held_epochs * an_epoch)
    return LambdaLR(optimizer, rate, last_epoch=taken - 1)


def share_of_rate(row: OptimizerRow, step: int, *, every: int, held: int = 0) -> float:
    """The learning rate of a step of `every` (the first is 0), as a share of the row's: TeCoA's, which has its first
    warm-up step at lr / W, and after `held` steps CoOp's, whose cosine begins when they are over."""
    if step < held:
        return row.held_lr / row.lr
    step, warmup = step - held, row.warmup_in(every)
    if step < warmup:
        return (step + 1) / warmup
    if row.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(every - warmup, 1)))
