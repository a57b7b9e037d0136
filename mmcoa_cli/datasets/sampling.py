"""Which images take part: few-shot draws for training, class-balanced subsets for evaluation, by seed."""

from __future__ import annotations

from collections.abc import Sequence

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


def _balanced_order(labels: Indices, seed: int) -> Indices:
    """All images, class by class in turn: first one of each class, then the second of each, and so on."""
    order = shuffled(np.arange(len(labels)), seed)
    turn = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        members = order[labels[order] == k]
        turn[members] = np.arange(len(members))
    return order[np.argsort(turn[order], kind="stable")]
