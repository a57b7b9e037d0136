"""When two attacks on the same images differ: exact tests, so that an honest model is not suspected by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TESTS = 8  # of one examination
ALPHA = 0.05 / TESTS  # so that by chance at most one honest model in twenty is suspected by any (Bonferroni)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Of images that two attacks were run on: how many only the one turned, and how many only the other."""

    one: int
    other: int

    @classmethod
    def of(cls, one: Bools, other: Bools) -> Pair:
        return cls(int((one & ~other).sum()), int((other & ~one).sum()))

    @property
    def one_is_stronger(self) -> bool:
        """Whether the first turns more than chance explains: McNemar's test, exact and one-sided."""
        return self._p("greater") < ALPHA

    @property
    def differ(self) -> bool:
        """Whether either does: the same test, two-sided."""
        return self._p("two-sided") < ALPHA

    def _p(self, alternative: str) -> float:
        from scipy.stats import binomtest

        both = self.one + self.other
        return float(binomtest(self.one, both, alternative=alternative).pvalue) if both else 1.0
