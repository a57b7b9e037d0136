"""Whether what a tower's blocks hold for the backward pass is computed again instead: where memory would not suffice."""

from __future__ import annotations

import math

from accelerate import Accelerator

from ..models.held import free_memory, needed
from ..terminal.console import say
from .conduct import Conduct
from .training_plan import Plan

SETS = 2  # of images of a batch that a loss encodes at once, at most: attacked and clean ones
SPARE = 0.9  # of what is free


def recomputes(plan: Plan, conduct: Conduct, accelerator: Accelerator) -> bool:
    """As it is asked for; else by an estimate, which is told where it says that memory does not suffice."""
    if conduct.recompute is not None:
        return conduct.recompute
    processes = accelerator.num_processes
    slice_ = math.ceil(min(plan.spec.batch_size, len(plan.indices)) / processes)
    images = min(SETS * slice_, conduct.micro_batch or SETS * slice_)
    takes = needed(
        plan.victim, images, side=plan.dataset.info.pixel_size, parts=processes if conduct.divided else 1
    )  # fmt: skip
    free = free_memory(accelerator.device)
    if takes <= SPARE * free:
        return False
    if accelerator.is_main_process:
        what = f"{takes / 2**30:.1f} GiB for {images} images, and {free / 2**30:.1f} GiB are free"
        say(f"a step would take about {what}: what lies between blocks is computed twice (--recompute)")
    return True
