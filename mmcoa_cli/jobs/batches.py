"""The batches of a training: in which order, in which stage of its recipe, and what brings their images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from ..catalog.recipes import PLAIN, Stage, recipes
from ..datasets.pixels import Pixels
from ..defences.step import Attacks
from ..processes import cores
from ..randomness import shuffled
from ..terminal.console import say
from . import feeding
from .clock import Clock
from .training_plan import Ints, Plan


@dataclass(frozen=True)
class Stages:
    """Those of a plan, each with the number of the run's steps up to its end."""

    plan: Plan
    ends: tuple[tuple[int, Stage], ...]

    @classmethod
    def of(cls, plan: Plan) -> Stages:
        """One of all steps, where the plan follows no recipe."""
        steps = plan.spec.epochs * math.ceil(len(plan.indices) / plan.spec.batch_size)
        return cls(plan, tuple(recipes().get(plan.spec.recipe, PLAIN).in_steps(steps)))

    def at(self, step: int) -> Stage:
        """The stage of a step, from 0."""
        return next((stage for end, stage in self.ends if step < end), Stage())

    def attacks(self, stage: Stage) -> Attacks:
        """What attacks a batch in it."""
        usual = self.plan.attacks
        if usual.image is None or stage.steps is None:
            return usual
        return replace(usual, image=replace(usual.image, steps=min(stage.steps, usual.image.steps)))

    def tell(self) -> None:
        """Say what the stages are, of a plan that follows a recipe."""
        clip, name, begun, parts = self.plan.victim.clip, self.plan.spec.recipe, 0, list[str]()
        if not name:
            return
        sides = [clip.see(stage.side) for _, stage in self.ends]
        clip.see()
        for (end, stage), side in zip(self.ends, sides, strict=True):
            image, fewer = self.attacks(stage).image, stage.steps is not None
            attacked = f" and {image.steps} steps of the attack" if image and fewer else ""
            parts += [f"{end - begun:,} with {side} pixels{attacked}"] if end > begun else []
            begun = end
        say(f"recipe {name}: of {begun:,} steps {', then '.join(parts)}")
        if len({stage.side for _, stage in self.ends}) > 1 and len({*sides}) == 1:
            say(f"the image encoder of {clip.name} takes images of one size: no stage has smaller ones")


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
