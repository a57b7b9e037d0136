"""The generator of random starts against its published vectors and numpy, and what is made of its numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmcoa_cli.attacks.starts import ByNumpy, ByTorch, drawn, in_cube, in_sphere, philox
from mmcoa_cli.randomness import keyed

CPU = torch.device("cpu")
ONES, PI = 2**64 - 1, (
    0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89, 0x452821E638D01377,
    0xBE5466CF34E90C6C,
)  # fmt: skip
VECTORS = [  # counter, key and result of Random123's kat_vectors, for philox4x64 with 10 rounds
    ((0, 0, 0, 0), (0, 0), (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
    ((ONES,) * 4, (ONES,) * 2, (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)),
    (PI[:4], PI[4:], (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6)),
]
KEYS = [(0, 0), (3, 1), (2**63 - 1, 0), (0, 2**33 + 7)]  # seeds, and numbers of the draw
INDICES = [0, 1, 5, 2**40, 2**62]


def as_torch(words: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array([word], dtype=np.uint64).view(np.int64)) for word in words]


@pytest.mark.parametrize("vector", VECTORS, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_words(vector: tuple[tuple[int, ...], ...]) -> None:
    counter, key, expected = vector
    found = philox(as_torch(counter), as_torch(key))
    assert [int(word.numpy().view(np.uint64)[0]) for word in found] == list(expected)


@pytest.mark.parametrize(("seed", "draw"), KEYS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 1000])
def test_every_device_has_the_numbers_of_numpy(seed: int, draw: int, count: int) -> None:
    """What a GPU computes, computed here."""
    ours, theirs = ByTorch(INDICES, seed, draw, CPU), ByNumpy(INDICES, seed, draw)
    for kind in ("single", "double"):
        assert torch.equal(getattr(ours, kind)(count), getattr(theirs, kind)(count))
    for single, double, index in zip(ours.single(count), ours.double(count), INDICES, strict=True):
        assert single.tolist() == keyed(seed, index, epoch=draw).random(count, dtype=np.float32).tolist()
        whole = keyed(seed, index, epoch=draw).integers(2**32, size=count, dtype=np.uint32)
        assert (double * 2**32).tolist() == whole.tolist()


def test_a_start_in_the_cube_is_exact() -> None:
    numbers = ByTorch([7], 3, 1, CPU)
    ours, exact = in_cube(numbers, 3001), numbers.single(3001).double() * 2 - 1
    assert ours.dtype == torch.float32 and torch.equal(ours.double(), exact)
    assert float(ours.min()) >= -1 and float(ours.max()) < 1


def test_normal_numbers_are_those_of_box_and_muller() -> None:
    """Worked out one by one in Python's own double precision."""
    numbers = ByTorch([2**40], 5, 2, CPU)
    share = numbers.double(7)[0].tolist()
    radius, pairs = share[0], zip(share[1::2], share[2::2], strict=False)
    normal = [(math.sqrt(-2 * math.log(1 - u)), 2 * math.pi * v) for u, v in pairs]
    values = ([r * math.cos(v) for r, v in normal] + [r * math.sin(v) for r, v in normal])[:5]
    expected = torch.tensor([radius * value / math.hypot(*values) for value in values])
    torch.testing.assert_close(in_sphere(numbers, 5)[0], expected, rtol=2e-7, atol=0)


def test_directions_are_of_normal_numbers() -> None:
    """The first coordinate of 10,000 directions in 8 dimensions: (1 + x) / 2 ~ Beta(3.5, 3.5)."""
    from scipy.stats import kstest

    unit = drawn("l2", torch.zeros(10_000, 2, 2, 2), indices=range(10_000), seed=1, draw=0).flatten(1)
    direction = unit / unit.norm(dim=1, keepdim=True)
    assert kstest((1 + direction[:, 0].double().numpy()) / 2, "beta", (3.5, 3.5)).pvalue > 1e-4
    assert kstest(unit.norm(dim=1).double().numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sample_has_its_numbers_in_any_batch(norm: str) -> None:
    images = torch.zeros(70, 3, 5, 7)  # more than are drawn at once
    together = drawn(norm, images, indices=range(100, 170), seed=4, draw=9)
    assert together.shape == images.shape
    for row in (0, 31, 32, 69):
        assert torch.equal(drawn(norm, images[:1], indices=[100 + row], seed=4, draw=9)[0], together[row])
