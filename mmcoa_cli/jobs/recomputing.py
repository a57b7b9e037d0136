"""Whether what a tower's blocks hold for the backward pass is computed again instead of kept."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ..models.held import free_memory, needed
from ..models.victim import Victim
from ..terminal.console import say
from ..terminal.errors import is_out_of_memory
from .conduct import Conduct
from .training_plan import Plan

SETS = 2  # of images of a batch that a loss encodes at once, at most: attacked and clean ones
SPARE = 0.9  # of what is free
GIB = 2**30


def recomputes(plan: Plan, conduct: Conduct, accelerator: Accelerator) -> bool:
    """As it is asked for; else by the first process's estimate, which it tells where memory would not suffice."""
    if conduct.recompute:
        return True
    processes = accelerator.num_processes
    own = math.ceil(min(plan.spec.batch_size, len(plan.indices)) / processes)
    images = min(SETS * own, conduct.micro_batch or SETS * own)
    parts = processes if conduct.divided else 1
    found = estimated(plan.victim, images, side=plan.dataset.info.pixel_size, parts=parts, device=accelerator.device)
    if found and accelerator.is_main_process:
        say(f"a step would take {found}: what lies inside the blocks of a tower is computed twice (--recompute)")
    (decided,) = broadcast_object_list([bool(found)])
    return bool(decided)


def estimated(
    victim: Victim, images: int, *, side: int, parts: int, device: torch.device, free: float | None = None
) -> str:
    """About how much memory a step on so many images takes, and what is free, in words where that does not suffice."""
    try:
        takes = needed(victim, images, side=side, parts=parts)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return "more memory than there is"
    free = free_memory(device) if free is None else free
    if takes <= SPARE * free:
        return ""
    return f"about {takes / GIB:.1f} GiB of memory, where {free / GIB:.1f} are free"
