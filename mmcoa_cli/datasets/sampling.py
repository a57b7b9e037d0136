"""Which images take part, by seed: few-shot draws for training, class-balanced subsets for evaluation; and which
are for training where images come without splits (`fetch --train-fraction`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.errors import UserError

from ..randomness import shuffled

Indices = npt.NDArray[np.int64]


def few_shot(labels: Indices, shots: str, *, seed: int, names: Sequence[str] = ()) -> Indices:
    """`shots` images a class ("full": all), in dataset order. 1 shot is part of 5 shots of the same seed.

    Raises UserError when a class has fewer, with the first of its `names` where they are given.
    """
    if shots == "full":
        return np.arange(len(labels))
    short = {int(k): int(c) for k, c in zip(*np.unique(labels, return_counts=True), strict=True) if c < int(shots)}
    if short:
        k, count = next(iter(short.items()))
        raise UserError(
            f"--shots {shots}: the class {names[k] if names else k} has only {count:,} training images",
            hint=f"--shots {min(short.values())}, or --shots full",
        )
    return np.sort(_balanced_order(labels, seed)[: int(shots) * len(np.unique(labels))])


def balanced_subset(labels: Indices, limit: int | None, *, seed: int) -> Indices:
    """`limit` images with the classes as equal as they can be, in dataset order; all when there are no more."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    return np.sort(_balanced_order(labels, seed)[:limit])


@dataclass(frozen=True)
class Fraction:
    """Of the images of each class, this part is for training, drawn by a seed."""

    train: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.train < 1:
            raise UserError(f"--train-fraction {self.train:g} is not between 0 and 1", hint="--train-fraction 0.8")

    def __str__(self) -> str:
        """As the dataset's file has it."""
        return f"{self.train:g}, by seed {self.seed}"


def for_training(labels: Indices, fraction: Fraction, *, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which images are for training: of each class the whole number nearest to that part, and at least one; and at
    least one is not.

    Raises UserError for a class of a single image.
    """
    order, chosen = shuffled(np.arange(len(labels)), fraction.seed), np.zeros(len(labels), dtype=bool)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < 2:
            raise UserError(
                f"the class {names[label]} has a single image, which cannot be in train and in test",
                hint="add images to it, or leave the class out",
            )
        of_class = order[labels[order] == label]
        chosen[of_class[: min(max(round(fraction.train * int(count)), 1), int(count) - 1)]] = True
    return chosen


def _balanced_order(labels: Indices, seed: int) -> Indices:
    """All images, class by class in turn: first one of each class, then the second of each, and so on."""
    order = shuffled(np.arange(len(labels)), seed)
    turn = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        members = order[labels[order] == k]
        turn[members] = np.arange(len(members))
    return order[np.argsort(turn[order], kind="stable")]
