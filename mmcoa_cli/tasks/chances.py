"""What a query counts whose best own item ties with others: the chance that it is among the first K, were the tied ones
put in any order. Imports no torch: metrics are computed from what is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def chances(above: npt.NDArray[Any], ties: npt.NDArray[Any], own: npt.NDArray[Any], k: int) -> npt.NDArray[np.float64]:
    """The chance that an own item is among the first k: 1 - C(ties - own, r) / C(ties, r) for the r places that are
    left to the tied ones."""
    places, missed = np.clip(k - above, 0, ties), np.ones(len(above))
    for taken in range(k):
        others = np.maximum(ties - own - taken, 0) / np.maximum(ties - taken, 1)
        missed *= np.where(taken < places, others, 1.0)
    return np.asarray(1 - missed)
