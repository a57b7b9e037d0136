"""How much memory training and tests take, from what is held for the gradients of a few images."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec
from ..models.memory_factors import MOMENTS, PASSING
from .selection import Data

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """Bytes of what is there before anything is computed, of the weights that each method trains, and of what each
    method and attack holds: as such, for each image, and for each class prompt."""

    base: float
    weights: Mapping[str, float]
    held: Mapping[str, tuple[float, ...]]
    free: float

    def training(self, spec: TrainSpec, data: Data, *, images: int, most: int | None = None) -> float:
        """Of a run on so many images, of which at most `most` are in memory at once."""
        at_once = min(spec.batch_size, images, most or images)
        return self.base + MOMENTS * self.weights[spec.method] + self._held(spec.method, at_once, data.classes)

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str], images: int) -> float:
        """Of the attack that takes most."""
        at_once = min(spec.batch_size, images)
        return self.base + max((self._held(name, at_once, data.classes) for name in attacks), default=0.0)

    def _held(self, name: str, images: int, classes: int) -> float:
        each = self.held.get(name, (0.0, 0.0, 0.0))
        return PASSING * (each[0] + images * each[1] + min(classes, images) * each[2])


@dataclass
class Held:
    """What autograd holds for the backward pass, of each method and attack that is run inside `of`."""

    seen: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str, *, images: int, prompts: int, weights: Iterable[Tensor]) -> Iterator[None]:
        """Inside, `name` computes on so many images and prompts."""
        from ..models.held import counted

        with counted(weights) as held:
            yield
        gc.collect()
        self.seen.setdefault(name, []).append((images, prompts, held.most))

    def fitted(self) -> dict[str, tuple[float, ...]]:
        """Bytes as such, for each image and for each prompt, none below 0."""
        import numpy as np
        from scipy.optimize import nnls

        found = {}
        for name, seen in self.seen.items():
            terms = np.array([(1, images, prompts) for images, prompts, _ in seen], dtype=float)
            found[name] = tuple(float(one) for one in nnls(terms, np.array([most for *_, most in seen], float))[0])
        return found


def taken(device: torch.device) -> float:
    """Bytes that this process has taken there."""
    import psutil  # type: ignore[import-untyped]
    import torch

    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return float(psutil.Process().memory_info().rss)
