"""The optimizer and the learning rate's schedule of a catalog row, as torch and transformers have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"] = row.lr
    schedule: LambdaLR
    last, every = taken - 1, epochs * an_epoch
    if row.schedule == "cosine":
        schedule = get_cosine_schedule_with_warmup(optimizer, row.warmup_in(every), every, last_epoch=last)
    else:
        schedule = get_constant_schedule_with_warmup(optimizer, row.warmup_in(every), last_epoch=last)
    if not row.held_epochs:
        return schedule
    (free,), held = schedule.lr_lambdas, row.held_epochs * an_epoch
    return LambdaLR(optimizer, lambda n: row.held_lr / row.lr if n < held else free(n), last_epoch=last)
