"""A training in the stages of its recipe: on smaller images and against fewer steps of the attack, then as usual."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..catalog.recipes import PLAIN, Stage, recipes
from ..defences.step import Attacks
from ..terminal.console import say
from .training_plan import Plan


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

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Have the victim take whole images again at the end, whatever it took inside (`Clip.see`)."""
        try:
            yield
        finally:
            self.plan.victim.clip.see()

    def tell(self) -> None:
        """Say what the stages are, of a plan that follows a recipe."""
        clip, name, begun, parts = self.plan.victim.clip, self.plan.spec.recipe, 0, list[str]()
        if not name:
            return
        with self.seen():
            sides = [clip.see(stage.side) for _, stage in self.ends]
        for (end, stage), side in zip(self.ends, sides, strict=True):
            image, fewer = self.attacks(stage).image, stage.steps is not None
            attacked = f" and {image.steps} steps of the attack" if image and fewer else ""
            parts += [f"{end - begun:,} with {side} pixels{attacked}"] if end > begun else []
            begun = end
        say(f"recipe {name}: of {begun:,} steps {', then '.join(parts)}")
        if len({stage.side for _, stage in self.ends}) > 1 and len({*sides}) == 1:
            say(f"the image encoder of {clip.name} takes images of one size: no stage has smaller ones")
