"""Intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from mmcoa_cli.tasks.intervals import of_difference, of_pairs, sign_test, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 3), (559, 1000), (8452, 10_000), (1, 1)])
def test_the_interval_is_that_of_scipy(correct: int, n: int) -> None:
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (12, 2), (30, 31), (0, 40)])
def test_the_sign_test_is_the_exact_binomial_one(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert sign_test(np.array([1.0] * won + [-0.5] * lost + [0.0] * 7)) == pytest.approx(expected, rel=1e-12)


def test_a_difference_of_independent_shares():
    """56 of 70 against 48 of 80, as Newcombe (1998, Table II) prints it."""
    one, other = 56 / 70, 48 / 80
    assert of_difference(one, wilson(56, 70), other, wilson(48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_difference_on_the_same_samples():
    """12 of 50 won, 2 lost. With half a sample in each cell: 10/52 ± 1.96 sqrt(15 - 100/52) / 52."""
    low, high = of_pairs([1.0] * 12 + [-1.0] * 2 + [0.0] * 36)
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((10 / 52, 1.959964 * (15 - 100 / 52) ** 0.5 / 52))
    assert of_pairs([0.0] * 98) == pytest.approx((-0.0196, 0.0196), abs=1e-6)  # none differs: that is no certainty
