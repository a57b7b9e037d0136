"""The batches of a training, in the order of its seed, and what brings their images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from ..datasets.pixels import Pixels
from ..processes import cores
from ..randomness import shuffled
from . import feeding
from .clock import Clock
from .training_plan import Ints, Plan


def slices(
    plan: Plan, accelerator: Accelerator, epoch: int, *, after: int = 0
) -> Iterator[tuple[Ints, Ints, list[int]]]:
    """Each batch of an epoch in the order of (seed, epoch) `after` so many: the numbers of its images, those of this
    process's slice, and how many each process has."""
    order = shuffled(plan.indices, plan.spec.seed, epoch=epoch + 1)
    for start in range(after * plan.spec.batch_size, len(order), plan.spec.batch_size):
        batch = order[start : start + plan.spec.batch_size]
        parts = np.array_split(batch, accelerator.num_processes)
        own = parts[accelerator.process_index]
        # fewer images than processes: this one computes an image of which nothing is gathered
        yield batch, own if len(own) else batch[:1], [len(part) for part in parts]


def feed_of(
    plan: Plan, accelerator: Accelerator, *, first: int, after: int = 0, workers: int | None
) -> AbstractContextManager[feeding.Feed]:
    """What reads the images of this process's slices, from the epoch after the `first` on, `after` so many batches."""
    device, processes = plan.victim.device, accelerator.num_processes
    reading = feeding.chosen(
        plan.dataset, len(plan.indices), batch=math.ceil(plan.spec.batch_size / processes), device=device,
        cores=cores(), processes=processes, asked=workers,
    )  # fmt: skip
    epochs = (
        slices(plan, accelerator, epoch, after=after if epoch == first else 0)
        for epoch in range(first, plan.spec.epochs)
    )
    own = (own for epoch in epochs for _, own, _ in epoch)
    return feeding.fed(plan.dataset, plan.indices, own, reading, pinned=device.type == "cuda")


@dataclass(frozen=True)
class Fed:
    """The images of an epoch's batches, of which the `first` has this number in the feed; `clock` counts the time in
    which they are waited for."""

    feed: feeding.Feed
    clock: Clock
    first: int = 0

    def __call__(self, number: int, images: Ints) -> Pixels | Tensor:
        with self.clock.waiting():
            return self.feed(self.first + number, images)
