"""Few-shot draws and class-balanced subsets: balanced, nested, and the same on every machine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmcoa_cli.datasets.sampling import balanced_subset, few_shot
from store.errors import UserError


def labels_of(counts: list[int], *, seed: int = 0) -> np.ndarray:
    """Labels of so many images a class, in an order that is not by class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels).astype(np.int64)


def test_full_is_everything_in_order():
    labels = labels_of([5, 7, 3])
    assert few_shot(labels, "full", seed=4).tolist() == list(range(15))


@pytest.mark.parametrize("shots", [1, 2, 5, 50])
@pytest.mark.parametrize("seed", range(5))
def test_so_many_images_of_every_class(shots: int, seed: int):
    labels = labels_of([60, 51, 50, 200])
    drawn = few_shot(labels, str(shots), seed=seed)
    assert np.bincount(labels[drawn]).tolist() == [shots] * 4
    assert (np.diff(drawn) > 0).all()  # dataset order, nothing twice


@pytest.mark.parametrize("seed", range(5))
def test_fewer_shots_are_part_of_more(seed: int):
    labels = labels_of([60, 51, 50, 200])
    drawn = [set(few_shot(labels, str(shots), seed=seed).tolist()) for shots in (1, 2, 5, 20, 50)]
    for fewer, more in itertools.pairwise(drawn):
        assert fewer < more


def test_another_seed_draws_others():
    labels = labels_of([100] * 10)
    draws = [few_shot(labels, "5", seed=seed).tolist() for seed in range(20)]
    assert len({tuple(draw) for draw in draws}) == 20
    # were the draws not uniform, some images would hardly ever be among the first 5 of 100
    counts = np.bincount(np.concatenate([few_shot(labels, "50", seed=seed) for seed in range(100)]), minlength=1000)
    assert counts.min() > 50 - 5 * 5 and counts.max() < 50 + 5 * 5


def test_the_same_on_every_machine():
    """Written down once: another numpy or another processor must draw these."""
    labels = np.arange(40) % 4
    assert few_shot(labels, "2", seed=0).tolist() == [2, 7, 12, 17, 25, 27, 32, 34]
    assert few_shot(labels, "2", seed=1).tolist() == [1, 2, 8, 11, 21, 24, 38, 39]
    assert balanced_subset(labels, 6, seed=2**62).tolist() == [3, 11, 14, 20, 32, 33]


def test_too_many_shots_are_refused():
    with pytest.raises(UserError, match="the class 2 has only 3") as caught:
        few_shot(labels_of([5, 7, 3]), "4", seed=0)
    assert "--shots 3" in caught.value.hint


@pytest.mark.parametrize("limit", [1, 3, 4, 10, 17, 399])
@pytest.mark.parametrize("seed", range(3))
def test_a_limit_is_as_balanced_as_it_can_be(limit: int, seed: int):
    labels = labels_of([100] * 4)
    subset = balanced_subset(labels, limit, seed=seed)
    counts = np.bincount(labels[subset], minlength=4)
    assert counts.sum() == limit and counts.max() - counts.min() <= 1
    assert (np.diff(subset) > 0).all()


def test_a_class_that_runs_out_leaves_its_place_to_the_others():
    labels = labels_of([2, 50, 50])
    assert np.bincount(labels[balanced_subset(labels, 22, seed=0)]).tolist() == [2, 10, 10]


def test_subsets_are_nested_and_others_for_another_seed():
    labels = labels_of([100] * 10)
    assert set(balanced_subset(labels, 25, seed=0)) < set(balanced_subset(labels, 70, seed=0))
    assert set(balanced_subset(labels, 25, seed=0)) != set(balanced_subset(labels, 25, seed=1))


@pytest.mark.parametrize("limit", [None, 15, 16, 10**9])
def test_no_limit_or_a_large_one_is_everything(limit: int | None):
    assert balanced_subset(labels_of([5, 7, 3]), limit, seed=0).tolist() == list(range(15))
