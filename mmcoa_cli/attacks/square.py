"""Square Attack in L-inf (Andriushchenko et al., 2020, arXiv 1912.00049): random squares, kept where they help.

It asks for logits alone: what hides its gradients does not hide from it. Every image has random numbers of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..randomness import keyed
from .radii import radius

if TYPE_CHECKING:
    from .autoattack import Standing

DRAW = 2**33  # of an image's random numbers; APGD has those before
FIRST_SHARE = 0.8  # of the image that a square covers
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries


@torch.no_grad()
def square(standing: Standing) -> Tensor:
    """Images like these, moved inside the ball: those that it has fooled, and the others as far as it came."""
    images, eps, queries = standing.images, radius(standing.settings.eps), standing.settings.queries
    channels, side = images.shape[1], images.shape[-1]
    stripes, squares = _draws(standing, channels, side)
    found = (images + eps * stripes).clamp(0, 1)
    margin = _margin(standing, found, torch.arange(len(images), device=images.device))
    for query in range(queries):
        rows = (margin >= 0).nonzero()[:, 0]
        if len(rows) == 0:
            break
        where, signs = squares[rows, query, :2], squares[rows, query, 2:].sub(0.5).sign()
        shape = _square(where, side, share=FIRST_SHARE / 2 ** sum(query > after for after in HALVED_AFTER))
        tried = found[rows] + 2 * eps * signs[:, :, None, None] * shape
        x = images[rows]
        tried = torch.minimum(torch.maximum(tried, x - eps), x + eps).clamp(0, 1)
        now = _margin(standing, tried, rows)
        better = now < margin[rows]
        found[rows] = torch.where(better[:, None, None, None], tried, found[rows])
        margin[rows] = torch.where(better, now, margin[rows])
        standing.on_step()
    return found


def _draws(standing: Standing, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Signs of vertical stripes, (b, channels, 1, side), and of each query two places and a number for each channel,
    in [0, 1), (b, queries, 2 + channels)."""
    stripes, squares = [], []
    for index in standing.indices:
        rng = keyed(standing.seed, int(index), epoch=DRAW)
        stripes.append(np.sign(rng.random((channels, 1, side), dtype=np.float32) - 0.5))
        squares.append(rng.random((standing.settings.queries, 2 + channels), dtype=np.float32))
    return torch.from_numpy(np.stack(stripes)).to(standing.images), torch.from_numpy(np.stack(squares)).to(
        standing.images
    )


def _square(where: Tensor, side: int, *, share: float) -> Tensor:
    """1 inside a square that covers this share of the image, at these places in [0, 1), (b, 2): (b, 1, side, side).
    As in the paper's Algorithm 2 it may lie at the far edges, which the published code's never does."""
    length = min(side, max(1, round(math.sqrt(share * side * side))))
    first = (where * (side - length + 1)).floor()[:, :, None]
    at = torch.arange(side, device=where.device)
    inside = (at >= first) & (at < first + length)
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].to(where.dtype)


def _margin(standing: Standing, x: Tensor, rows: Tensor) -> Tensor:
    """z_y - max_(i != y) z_i, (b,): below 0 where x is misclassified."""
    logits, labels = standing.classify(x), standing.labels[rows][:, None]
    own = logits.gather(1, labels)[:, 0]
    return own - logits.scatter(1, labels, -torch.inf).amax(dim=1)
