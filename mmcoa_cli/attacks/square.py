"""Square Attack (Andriushchenko et al., 2020, arXiv 1912.00049): random squares, kept where they help.

It asks for logits alone: what hides its gradients does not hide from it. Every image has random numbers of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..randomness import keyed
from .radii import radius
from .square_moves import MOVES, Moves

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
