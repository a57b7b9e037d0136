"""The losses of an epoch, as they come from the device: read every so many steps, because each reading waits for all
that the device was given to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.finite import require_finite_loss
from .clock import Clock, Lap

EVERY = 20  # steps between two readings on a device that computes while this process goes on


@dataclass(frozen=True)
class Taken:
    """A step that was taken on so many images, what it took, its loss and its rate."""

    images: int
    lap: Lap
    loss: float
    lr: float


class Losses:
    """`tell` hears of each step, in order, some when others have been taken since. `lr` is the run's own, `before` are
    the losses of the steps that were taken before an interruption."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[Taken], None],
        *,
        lr: float,
        every: int | None = None,
        before: Sequence[float] = (),
    ) -> None:
        self._clock, self._tell, self._lr = clock, tell, lr
        self._every = every or (1 if clock.device.type == "cpu" else EVERY)
        self._waiting: list[tuple[Tensor, int, float]] = []
        self.read = list(before)

    def add(self, loss: Tensor, *, images: int, lr: float) -> None:
        """A step's loss, a scalar on the device. Raises UserError where one that is read now is no number."""
        self._waiting.append((loss.detach(), images, lr))
        if len(self._waiting) >= self._every:
            self.flush()

    def flush(self) -> None:
        """Read those that are not read yet; each step took its share of the time since the last reading."""
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, []
        values: list[float] = torch.stack([loss.float() for loss, _, _ in taken]).tolist()
        lap = self._clock.lap()
        share = Lap(lap.seconds / len(taken), lap.waited / len(taken))
        for value, (_, images, lr) in zip(values, taken, strict=True):
            self.read.append(require_finite_loss(value, lr=self._lr))
            self._tell(Taken(images, share, value, lr))

    def all(self) -> list[float]:
        """Of all steps, without telling of those that were not read yet."""
        return [*self.read, *(float(loss) for loss, _, _ in self._waiting)]

    @property
    def mean(self) -> float:
        """Of all steps."""
        return float(np.mean(self.read))
