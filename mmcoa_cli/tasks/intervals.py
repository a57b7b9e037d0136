"""How sure a share is, from how many it was counted."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(correct: float, n: float) -> tuple[float, float]:
    """The 95% score interval of `correct` out of `n` (Wilson, 1927), without the second that scipy.stats takes to load.

    Raises ZeroDivisionError for n = 0.
    """
    z = NormalDist().inv_cdf(0.975)
    share, weight = correct / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)
