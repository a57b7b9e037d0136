"""How a training is watched and fitted into memory: nothing of it decides the weights, or the run's id."""

from __future__ import annotations

from dataclasses import dataclass

from ..terminal.checks import positive


@dataclass(frozen=True)
class Conduct:
    """`micro_batch` images are in memory at once (None: the batch); `track` is the tracker that follows, empty for
    none; after every `evaluate_every` epochs the model is tested as it is by then."""

    micro_batch: int | None = None
    track: str = ""
    evaluate_every: int | None = None

    def __post_init__(self) -> None:
        for option in ("micro_batch", "evaluate_every"):
            if (value := getattr(self, option)) is not None:
                positive(f"--{option.replace('_', '-')}", value)
