"""The paired tests, against binomial tails worked by hand, and how often they suspect what is equal."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from mmcoa_cli.masking.checks import ALPHA, Pair


def test_only_images_that_one_of_two_turned_count() -> None:
    one, other = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 0, 1, 0], dtype=bool)
    assert Pair.of(one, other) == Pair(2, 1)


@pytest.mark.parametrize(
    ("one", "other", "stronger", "differ"),
    [
        (0, 0, False, False),  # no image says anything
        (7, 0, False, False),  # 1/128 = 0.0078
        (8, 0, True, False),  # 1/256 = 0.0039, two-sided 0.0078
        (9, 0, True, True),
        (0, 9, False, True),
        (10, 1, True, False),  # 12/2048 = 0.0059
        (9, 1, False, False),  # 11/1024 = 0.0107
    ],
)
def test_tails_by_hand(one: int, other: int, stronger: bool, differ: bool) -> None:
    assert (Pair(one, other).one_is_stronger, Pair(one, other).differ) == (stronger, differ)


@pytest.mark.parametrize("differing", [1, 8, 20, 57, 200])
def test_of_two_attacks_that_are_equal_few_are_suspected(differing: int) -> None:
    """By all ways in which a coin decides which of the two turned each image: exact, without a sample."""
    suspected = sum(comb(differing, k) for k in range(differing + 1) if Pair(k, differing - k).one_is_stronger)
    assert suspected / 2**differing < ALPHA
