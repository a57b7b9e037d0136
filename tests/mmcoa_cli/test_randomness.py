"""Random numbers are a function of their key: pinned, so that no other machine or numpy changes them unseen."""

from __future__ import annotations

import numpy as np

from mmcoa_cli.randomness import keyed, shuffled


def test_keyed_is_the_same_on_every_machine():
    """What PGD draws: single-precision uniforms and normals."""
    uniform, far, normal = keyed(0, 0), keyed(7, 2**40, epoch=3), keyed(0, 0)
    assert (uniform.random(3, dtype=np.float32) * 2**24).tolist() == [582872, 193722, 10266821]
    assert (far.random(3, dtype=np.float32) * 2**24).tolist() == [9227750, 10228137, 10308922]
    expected = [0.059911035001277924, 0.015559634193778038, -1.1644384860992432]
    assert normal.standard_normal(3, dtype=np.float32).tolist() == expected


def test_shuffled_is_the_same_on_every_machine():
    assert shuffled(np.arange(10), 0).tolist() == [2, 7, 9, 5, 1, 0, 4, 6, 8, 3]
    assert shuffled(np.arange(10), 2**63 - 1, epoch=9).tolist() == [9, 4, 3, 7, 5, 0, 2, 8, 1, 6]


def test_every_part_of_the_key_counts():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (2**63 - 1, 0, 0), (0, 2**62, 0), (0, 0, 2**31)]
    draws = {keyed(seed, index, epoch=epoch).bytes(16) for seed, index, epoch in keys}
    assert len(draws) == len(keys)
    seeds = [0, 1, 2, 2**62, 2**62 + 1, 2**63 - 1]
    orders = {tuple(shuffled(np.arange(50), seed, epoch=epoch)) for seed in seeds for epoch in range(4)}
    assert len(orders) == 4 * len(seeds)


def test_neighbours_have_nothing_in_common():
    """Samples 0 to 199 of one seed, and one sample under 200 seeds: means and correlations as of independent draws."""
    for rows in ([keyed(0, i).random(500) for i in range(200)], [keyed(s, 5).random(500) for s in range(200)]):
        matrix = np.stack(rows)
        assert abs(matrix.mean() - 0.5) < 5 / np.sqrt(12 * matrix.size)
        correlations = np.corrcoef(matrix)[np.triu_indices(200, k=1)]
        assert np.abs(correlations).max() < 6 / np.sqrt(500)


def test_an_epoch_never_runs_into_the_next():
    """The stream of an epoch is 2**192 blocks long, so what one sample draws is never another epoch's beginning."""
    long = keyed(3, 4, epoch=0).random(10_000)
    later = keyed(3, 4, epoch=1).random(10)
    assert not np.isin(later, long).any()


def test_a_draw_leaves_the_generators_of_others_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    keyed(0, 0).random(100)
    shuffled(np.arange(100), 0)
    assert np.random.random() == expected


def test_shuffled_is_an_even_permutation_of_its_values():
    values = np.array([5, 5, 9, -3, 2**40])
    assert sorted(shuffled(values, 1).tolist()) == sorted(values.tolist())
    assert shuffled([], 0).tolist() == []
    assert shuffled([8], 0).tolist() == [8]
    first = np.bincount([shuffled(np.arange(5), seed)[0] for seed in range(2000)], minlength=5)
    assert (np.abs(first - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)).all()
