"""Random numbers that depend on nothing but their key, so that results are the same at any batch and process count.

Philox is a counter-based generator: its stream is a fixed function of the key, on every machine and numpy version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def keyed(seed: int, index: int, *, epoch: int = 0) -> np.random.Generator:
    """The generator of everything random that touches sample `index` in `epoch`."""
    return np.random.Generator(np.random.Philox(key=[seed, index], counter=[0, 0, 0, epoch]))


def shuffled(values: Sequence[int] | npt.NDArray[np.int64], seed: int, *, epoch: int = 0) -> npt.NDArray[np.int64]:
    """`values` in the order of (seed, epoch): the shuffle of an epoch, or the draw of a few-shot set."""
    key = np.array([seed, 2**63 + epoch], dtype=np.uint64)  # of a list, numpy would make floats and lose the epoch
    raw = np.random.Philox(key=key).random_raw(len(values))
    shuffled_values: npt.NDArray[np.int64] = np.asarray(values, dtype=np.int64)[np.argsort(raw, kind="stable")]
    return shuffled_values
