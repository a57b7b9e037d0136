"""Intervals of shares."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from mmcoa_cli.tasks.intervals import wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 3), (559, 1000), (8452, 10_000), (1, 1)])
def test_the_interval_is_that_of_scipy(correct: int, n: int) -> None:
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
