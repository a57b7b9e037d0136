"""Random starts, drawn on the device of the images: each number depends on its key and its place alone.

They are those of numpy's Philox4x64-10 (Salmon et al., 2011), a counter-based generator: the same on every device, and
in any batch. On a CPU numpy draws them; elsewhere the same generator in torch's integers, whose products wrap around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..randomness import keyed
from .radii import radius
from .settings import AscentSettings

ROUNDS, MULTIPLIERS, WEYL = 10, (0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
HALF = 2**32 - 1  # the lower half of a word of 64 bits
AT_ONCE = {"cpu": 8, "cuda": 32}  # samples; on a CPU what is computed of them stays in its cache


class Numbers(Protocol):
    """The first numbers of each sample, (b, count), from [0, 1) in steps of 2**-24 or 2**-32, all of them exact."""

    def single(self, count: int) -> Tensor: ...
    def double(self, count: int) -> Tensor: ...


def random_start(
    settings: AscentSettings, images: Tensor, *, indices: Sequence[int], seed: int, epoch: int = 0
) -> Tensor:
    """delta_0 of each sample, by (seed, its index, epoch): uniform in the L-inf ball; in the L2 ball uniform in
    direction with a uniform radius. Shape and device of `images`, (B, 3, H, W)."""
    if not settings.random_start:
        return torch.zeros_like(images)
    return drawn(settings.norm, images, indices=indices, seed=seed, draw=epoch) * radius(settings.eps)


def drawn(norm: str, images: Tensor, *, indices: Sequence[int], seed: int, draw: int) -> Tensor:
    """For each sample a delta in the ball of radius 1, the same for the same seed, index and number of the draw."""
    shape, found, on_gpu = images.shape[1:], [images[:0]], images.device.type == "cuda"
    at_once = AT_ONCE["cuda" if on_gpu else "cpu"]
    for first in range(0, len(indices), at_once):
        some = indices[first : first + at_once]
        numbers = ByTorch(some, seed, draw, images.device) if on_gpu else ByNumpy(some, seed, draw)
        found.append(UNIT[norm](numbers, shape.numel()).to(images).view(-1, *shape))
    return torch.cat(found)


def in_cube(numbers: Numbers, count: int) -> Tensor:
    """Uniform in [-1, 1), (b, count), in steps of 2**-23: exact in single precision."""
    return numbers.single(count).mul_(2).sub_(1)


def in_sphere(numbers: Numbers, count: int) -> Tensor:
    """Uniform in direction and in length, (b, count): normal numbers by Box and Muller, in double precision, in which
    devices differ by a last bit; after rounding to single precision by next to none."""
    share = numbers.double(2 * -(-count // 2) + 1)
    length, angle = (-2 * (1 - share[:, 1::2]).log()).sqrt(), 2 * math.pi * share[:, 2::2]
    normal = torch.cat([length * angle.cos(), length * angle.sin()], dim=1)[:, :count]
    unit: Tensor = normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    return (unit * share[:, :1]).float()


UNIT: dict[str, Callable[[Numbers, int], Tensor]] = {"linf": in_cube, "l2": in_sphere}


@dataclass(frozen=True)
class ByNumpy:
    """Those of `keyed`, each of one stream."""

    indices: Sequence[int]
    seed: int
    draw: int

    def _streams(self) -> list[np.random.Generator]:
        return [keyed(self.seed, int(index), epoch=self.draw) for index in self.indices]

    def single(self, count: int) -> Tensor:
        return torch.from_numpy(np.stack([rng.random(count, dtype=np.float32) for rng in self._streams()]))

    def double(self, count: int) -> Tensor:
        """Each word of 64 bits is two numbers, the lower half first."""
        words = np.stack([rng.bit_generator.random_raw(-(-count // 2)) for rng in self._streams()])
        return torch.from_numpy(words.astype("<u8", copy=False).view("<u4")[:, :count] * 2.0**-32)


@dataclass(frozen=True)
class ByTorch:
    """The same on any device."""

    indices: Sequence[int]
    seed: int
    draw: int
    device: torch.device

    def single(self, count: int) -> Tensor:
        return (self._halves(count) >> 8).float() * 2.0**-24

    def double(self, count: int) -> Tensor:
        return self._halves(count).double() * 2.0**-32

    def _halves(self, count: int) -> Tensor:
        place = torch.arange(1, -(-count // 8) + 1, device=self.device)  # numpy counts before it draws
        of_sample = torch.tensor([[_signed(int(index))] for index in self.indices], device=self.device)
        zero, own_seed = torch.zeros_like(place), torch.full_like(of_sample, _signed(self.seed))
        words = torch.stack(philox((place, zero, zero, zero + self.draw), (own_seed, of_sample)), dim=2)
        return torch.stack([words & HALF, (words >> 32) & HALF], dim=3).flatten(1)[:, :count]


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> list[Tensor]:
    """Four words for each counter of four and key of two: 64 bits in integers whose sign is one of them."""
    a, b, c, d = counter
    first, second = key
    for _ in range(ROUNDS):
        low, high = a * _signed(MULTIPLIERS[0]), _upper(a, MULTIPLIERS[0])
        other_low, other_high = c * _signed(MULTIPLIERS[1]), _upper(c, MULTIPLIERS[1])
        a, b, c, d = other_high ^ b ^ first, other_low, high ^ d ^ second, low
        first, second = first + _signed(WEYL[0]), second + _signed(WEYL[1])
    return [a, b, c, d]


def _upper(word: Tensor, factor: int) -> Tensor:
    """The upper 64 bits of a product's 128, from the products of halves, none of which is too long."""
    low, high, factor_low, factor_high = word & HALF, (word >> 32) & HALF, factor & HALF, factor >> 32
    middle = high * factor_low + (((low * factor_low) >> 32) & HALF)
    other = low * factor_high + (middle & HALF)
    return high * factor_high + ((middle >> 32) & HALF) + ((other >> 32) & HALF)


def _signed(word: int) -> int:
    """The number that has the same 64 bits in torch's integers."""
    return (word + 2**63) % 2**64 - 2**63
