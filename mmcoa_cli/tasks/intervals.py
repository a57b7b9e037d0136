"""How sure a share is, from how many it was counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Interval = tuple[float, float]


def wilson(correct: float, n: float) -> tuple[float, float]:
    """The 95% score interval of `correct` out of `n` (Wilson, 1927), without the second that scipy.stats takes to load.

    Raises ZeroDivisionError for n = 0.
    """
    z = NormalDist().inv_cdf(0.975)
    share, weight = correct / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def of_pairs(differences: Sequence[float]) -> Interval:
    """The 95% interval of a mean difference of shares on the same samples, by what it is for each, in [-1, 1].

    Half a sample is added to each of the four cells of the table of pairs (Agresti and Min, 2005): so that nothing that
    differs is no proof that nothing could.
    """
    n, total = len(differences), math.fsum(differences)
    z, squares, more = NormalDist().inv_cdf(0.975), math.fsum(d * d for d in differences) + 1, n + 2
    middle = total / more
    reach = z * math.sqrt(max(0.0, squares - total * total / more)) / more
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def sign_test(differences: npt.NDArray[np.float64]) -> float:
    """The p-value, of both sides, that as many samples go one way as the other: where each is right or wrong, the exact
    test of McNemar (1947). Samples without a difference say nothing."""
    from scipy.special import bdtr

    up, down = int((differences > 0).sum()), int((differences < 0).sum())
    return min(1.0, 2 * float(bdtr(min(up, down), up + down, 0.5)))


def of_difference(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """The 95% interval of `one` - `other`, shares of independent samples that have these 95% intervals (Newcombe, 1998,
    method 10)."""
    difference = one - other
    down, up = math.hypot(one - of_one[0], of_other[1] - other), math.hypot(of_one[1] - one, other - of_other[0])
    return max(-1.0, difference - down), min(1.0, difference + up)
