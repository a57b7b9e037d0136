"""The steps of a plan as jobs: one that trains a model, one that makes all its tests, and what each waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..jobs.job import Job, Start
from ..plans.execution import Made, needed
from ..plans.steps import Fetch, Step


@dataclass(frozen=True)
class Errand:
    """What one job of the cluster does. `after` are the numbers of the errands whose results it needs."""

    steps: tuple[Step, ...]
    after: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """ "train tecoa, 5-shot on cifar10", or of several tests the first and how many more."""
        more = len(self.steps) - 1
        return f"{self.steps[0].title}{f' and {more} more' if more else ''}"

    @property
    def commands(self) -> list[str]:
        """What a person would type for it."""
        return list(map(command_of, self.steps))


def command_of(step: Step) -> str:
    """What a person would type for a step, in however many processes it is done."""
    return replace(step, start=Start()).command


def errands(steps: Sequence[Step]) -> list[Errand]:
    """The steps that are left, but for what is fetched, in an order in which each comes after what it needs."""
    groups: dict[object, list[Step]] = {}
    for step in steps:
        if not (step.cached or isinstance(step.work, Fetch)):
            groups.setdefault(_group(step), []).append(step)
    makers = {made: number for number, group in enumerate(groups.values()) for step in group if (made := _made(step))}
    return [
        Errand(tuple(group), tuple(sorted({makers[part] for step in group for part in needed(step) if part in makers})))
        for group in groups.values()
    ]


def _group(step: Step) -> object:
    """What steps of one errand have in common: what they make, or the model that they test."""
    test = step.work.evaluate if isinstance(step.work, Job) else None
    return _made(step) or (step.kind, step.of or (test and test.checkpoint), step.w is None)


def _made(step: Step) -> Made | None:
    return (step.kind, step.run) if step.kind != "evaluate" and step.run else None
