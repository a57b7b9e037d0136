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
        return self._at_most(self.other) < ALPHA

    @property
    def differ(self) -> bool:
        """Whether either does: the same test, two-sided."""
        return 2 * self._at_most(min(self.one, self.other)) < ALPHA

    def _at_most(self, count: int) -> float:
        """How probable it is that a coin gives so few of these images to one of the two."""
        from scipy.special import bdtr  # scipy.stats, which has the test as such, takes a second to load

        return float(bdtr(count, self.one + self.other, 0.5))
