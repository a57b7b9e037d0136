"""Recipes: a training run in stages, on smaller images and against fewer steps of the attack, then as usual."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from . import rows_in


class Stage(NamedTuple):
    """A part of a run: its share of the steps; the side of the images that the encoder takes, as a share of the usual
    one; and the steps of the attack, at most (None: all)."""

    share: float = 1.0
    side: float = 1.0
    steps: int | None = None


@dataclass(frozen=True)
class RecipeRow:
    """In what stages a run is trained, one behind the other; the shares are 1 together."""

    name: str
    title: str = ""
    stages: tuple[Stage, ...] = (Stage(),)

    def __post_init__(self) -> None:
        rows: tuple[Any, ...] = self.stages
        stages = tuple(row if isinstance(row, Stage) else Stage(**row) for row in rows)
        object.__setattr__(self, "stages", stages)
        if abs(sum(stage.share for stage in stages) - 1) > 1e-9:
            raise ValueError(f"the stages of {self.name} are not all of a run")

    def in_steps(self, steps: int) -> list[tuple[int, Stage]]:
        """Each stage, with the number of the run's steps up to its end."""
        ends = [round(steps * sum(stage.share for stage in self.stages[: n + 1])) for n in range(len(self.stages))]
        return [*zip(ends, self.stages, strict=True)]


PLAIN = RecipeRow("")


@cache
def recipes() -> dict[str, RecipeRow]:
    return rows_in(RecipeRow, "methods.toml", "recipe")
