"""How a training is watched, fitted into memory and given its images: nothing of it decides the weights, or the run's
id."""

from __future__ import annotations

from dataclasses import dataclass

from ..terminal.checks import not_negative, positive, within


@dataclass(frozen=True)
class Conduct:
    """`micro_batch` images are in memory at once (None: the batch); `track` is the tracker that follows, empty for
    none; after every `evaluate_every` epochs the model is tested as it is by then. `workers` read images ahead in each
    process (None: as many as suit). With `recompute` a tower keeps what lies between its blocks, and computes the rest
    again when gradients need it; else where memory would not suffice. With `divided` each process has a
    part of the weights (`sharding.py`)."""

    micro_batch: int | None = None
    track: str = ""
    evaluate_every: int | None = None
    workers: int | None = None
    recompute: bool = False
    divided: bool = False

    def __post_init__(self) -> None:
        for option in ("micro_batch", "evaluate_every"):
            if (value := getattr(self, option)) is not None:
                positive(f"--{option.replace('_', '-')}", value)
        if self.workers is not None:
            not_negative("--workers", self.workers)
            within("--workers", self.workers)
