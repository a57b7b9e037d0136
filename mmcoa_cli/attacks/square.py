"""Square Attack (Andriushchenko et al., 2020, arXiv 1912.00049): random squares, kept where they help.

It asks for logits alone: what hides its gradients does not hide from it. Every image has random numbers of its own.
What is tried next is Algorithm 2 in L-inf, 3 in L2. As there, a square may lie at the far edges; the published code
draws its place one too low, and never reaches them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..randomness import keyed
from .pgd import l2
from .radii import radius

if TYPE_CHECKING:
    from .autoattack import Standing

DRAW = 2**33  # of an image's random numbers; APGD has those before
FIRST_SHARE = 0.8  # of the image that a square covers
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries


@torch.no_grad()
def square(standing: Standing) -> Tensor:
    """Images like these, moved inside the ball: those that it has fooled, and the others as far as it came (Algorithm
    1)."""
    images, eps, moves = standing.images, radius(standing.settings.eps), MOVES[standing.settings.norm]
    first, draws = _draws(standing, moves)
    found = moves.start(images, eps, first)
    margin = _margin(standing, found, torch.arange(len(images), device=images.device))
    for query in range(standing.settings.queries):
        rows = (margin >= 0).nonzero()[:, 0]
        if len(rows) == 0:
            break
        share = FIRST_SHARE / 2 ** sum(query > after for after in HALVED_AFTER)
        tried = moves.moved(found[rows], images[rows], eps, draws[rows, query], share)
        now = _margin(standing, tried, rows)
        better = now < margin[rows]
        found[rows] = torch.where(better[:, None, None, None], tried, found[rows])
        margin[rows] = torch.where(better, now, margin[rows])
        standing.on_step()
    return found


def _draws(standing: Standing, moves: Moves) -> tuple[Tensor, Tensor]:
    """The random numbers in [0, 1) of the start, and those of each query, (b, queries, numbers + channels)."""
    channels, side = standing.images.shape[1], standing.images.shape[-1]
    start, squares = [], []
    for index in standing.indices:
        rng = keyed(standing.seed, int(index), epoch=DRAW)
        start.append(rng.random(moves.first(channels, side), dtype=np.float32))
        squares.append(rng.random((standing.settings.queries, moves.numbers + channels), dtype=np.float32))
    return torch.from_numpy(np.stack(start)).to(standing.images), torch.from_numpy(np.stack(squares)).to(
        standing.images
    )


def _margin(standing: Standing, x: Tensor, rows: Tensor) -> Tensor:
    """z_y - max_(i != y) z_i, (b,): below 0 where x is misclassified."""
    logits, labels = standing.classify(x), standing.labels[rows][:, None]
    own = logits.gather(1, labels)[:, 0]
    return own - logits.scatter(1, labels, -torch.inf).amax(dim=1)


TILES = 5  # beside each other, of the first change in L2
LEAST = 3  # the side of a square in L2, which is odd
TINY = 1e-12


class Moves(NamedTuple):
    """What the norm decides: the shape of an image's first random numbers, by channels and side; how many a query takes
    beside one for each channel; where the search starts, and where it goes from `found`."""

    first: Callable[[int, int], tuple[int, ...]]
    numbers: int
    start: Callable[[Tensor, float, Tensor], Tensor]  # of images, eps, the first numbers
    moved: Callable[[Tensor, Tensor, float, Tensor, float], Tensor]  # of found, images, eps, numbers, share covered


def stripes(images: Tensor, eps: float, draws: Tensor) -> Tensor:
    """Vertical stripes of +-eps in each channel."""
    return (images + eps * draws.sub(0.5).sign()).clamp(0, 1)


def square_moved(found: Tensor, images: Tensor, eps: float, draws: Tensor, share: float) -> Tensor:
    """A square of +-2 eps in each channel, brought back into the ball (Algorithm 2)."""
    side = images.shape[-1]
    length = min(side, max(1, round(math.sqrt(share * side * side))))
    inside = _window(_first(draws[:, :2], side, length), side, length).to(images)
    tried = found + 2 * eps * _signs(draws[:, 2:]) * inside
    return torch.minimum(torch.maximum(tried, images - eps), images + eps).clamp(0, 1)


def tiles(images: Tensor, eps: float, draws: Tensor) -> Tensor:
    """A grid of bumps over the image, each with a sign of its own in each channel, of length eps together."""
    side, delta = images.shape[-1], torch.zeros_like(images)
    length, beside = _tiling(side)
    edge = (side - beside * length) // 2
    for number in range(beside * beside):
        top, left = (edge + length * place for place in divmod(number, beside))
        bumps = _turned(bump(length).to(images), draws[:, number, 0]) * _signs(draws[:, number, 1:])
        delta[:, :, top : top + length, left : left + length] = bumps
    return (images + eps * delta / l2(delta)).clamp(0, 1)


def mass_moved(found: Tensor, images: Tensor, eps: float, draws: Tensor, share: float) -> Tensor:
    """The change inside two windows, and what the box has left of eps, brought into the first: there along what it was
    and a bump (Algorithm 3)."""
    nu, (_, channels, side, _) = found - images, images.shape
    length = max(LEAST, round(math.sqrt(share * side * side)))
    length = min(side, length + 1 - length % 2)
    first, second = (_first(places, side, length) for places in (draws[:, 0:2], draws[:, 2:4]))
    into, emptied = _window(first, side, length), _window(second, side, length)
    unused = (eps**2 - l2(nu) ** 2).clamp_min(0)
    available = (l2(nu * (into | emptied), dim=(2, 3)) ** 2 + unused / channels).sqrt()
    at = _places(first, length, channels)
    bumps = _turned(bump(length).to(images), draws[:, 4]) * _signs(draws[:, 5:])
    new = bumps + nu[at] / (l2(nu[at], dim=(2, 3)) + TINY)
    nu = nu * ~emptied
    nu[at] = new / (l2(new, dim=(2, 3)) + TINY) * available
    return (images + eps * nu / (l2(nu) + TINY)).clamp(0, 1)


def bump(length: int) -> Tensor:
    """eta of Eq. 2, (length, length), of unit length: a hill in its upper half, a hollow in its lower one, as much of
    each (the published code has both of unit length before they are joined)."""
    upper = length // 2
    return _unit(torch.cat([_hill(upper, length), -_hill(length - upper, length)]))


def _hill(height: int, width: int) -> Tensor:
    """Of unit length: sum_(j = d + 1)^(n + 1) 1/j^2 at the distance d from the middle, n half the longer side."""
    rows, columns = (torch.arange(size) - size // 2 for size in (height, width))
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None, :])
    terms = torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64) ** -2
    return _unit(terms.flip(0).cumsum(0).flip(0)[distance])


def _unit(eta: Tensor) -> Tensor:
    found: Tensor = eta / torch.linalg.vector_norm(eta)
    return found


def _tiling(side: int) -> tuple[int, int]:
    """The side of a tile, and how many lie beside each other."""
    length = max(1, side // TILES)
    return length, min(TILES, side // length)


def _turned(eta: Tensor, draws: Tensor) -> Tensor:
    """eta or, for numbers (b,) above a half, its transpose: (b, 1, s, s)."""
    return torch.where((draws > 0.5)[:, None, None], eta.T, eta)[:, None]


def _signs(draws: Tensor) -> Tensor:
    """Of numbers (b, channels) in [0, 1)."""
    return draws.sub(0.5).sign()[:, :, None, None]


def _first(draws: Tensor, side: int, length: int) -> Tensor:
    """The first row and column of windows, (b, 2), by numbers in [0, 1)."""
    return (draws * (side - length + 1)).floor().long()


def _window(first: Tensor, side: int, length: int) -> Tensor:
    """Which pixels lie inside: (b, 1, side, side)."""
    at = torch.arange(side, device=first.device)
    inside = (at >= first[:, :, None]) & (at < first[:, :, None] + length)
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def _places(first: Tensor, length: int, channels: int) -> tuple[Tensor, ...]:
    """The indices of the windows' pixels in (b, channels, side, side)."""
    along = torch.arange(length, device=first.device)
    rows, columns = first[:, 0, None] + along, first[:, 1, None] + along
    batch, channel = (torch.arange(size, device=first.device) for size in (len(first), channels))
    return batch[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]


MOVES = {
    "linf": Moves(lambda channels, side: (channels, 1, side), 2, stripes, square_moved),
    "l2": Moves(lambda channels, side: (_tiling(side)[1] ** 2, 1 + channels), 5, tiles, mass_moved),
}
