"""The optimizer and the learning rate's schedule of a catalog row, as torch and transformers have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..catalog import OptimizerRow

Weights = Sequence[nn.Parameter]

MAKE: dict[str, Callable[[Weights, OptimizerRow], Optimizer]] = {
    "adam": lambda weights, row: torch.optim.Adam(
        weights, lr=row.lr, betas=row.betas, eps=row.eps, weight_decay=row.decay
    ),
    "adamw": lambda weights, row: torch.optim.AdamW(
        weights, lr=row.lr, betas=row.betas, eps=row.eps, weight_decay=row.decay
    ),
    "sgd": lambda weights, row: torch.optim.SGD(weights, lr=row.lr, momentum=row.momentum, weight_decay=row.decay),
}


def make_optimizer(row: OptimizerRow, weights: Weights) -> Optimizer:
    """Adam couples its weight decay with the gradient, as the released code; AdamW does not."""
    return MAKE[row.name](weights, row)


def make_schedule(row: OptimizerRow, optimizer: Optimizer, *, done: int, total: int) -> LRScheduler:
    """The schedule after `done` of the `total` steps. The rate is a function of the number of the step alone, so a run
    that goes on has the very rates of one that went through."""
    from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"] = row.lr
    schedule: LRScheduler
    if row.schedule == "cosine":
        schedule = get_cosine_schedule_with_warmup(optimizer, row.warmup_steps, total, last_epoch=done - 1)
    else:
        schedule = get_constant_schedule_with_warmup(optimizer, row.warmup_steps, last_epoch=done - 1)
    return schedule
