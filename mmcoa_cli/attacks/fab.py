"""FAB-T (Croce and Hein, 2020, arXiv 1907.02044): step by step onto the plane where a target would win, near the image.

It looks for the nearest misclassified image, however far that is. What counts is that image brought back into the ball.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .apgd import BALLS
from .pgd import holding
from .radii import radius

if TYPE_CHECKING:
    from .autoattack import Standing

ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9  # the bias towards the image, the overshoot, the step back
LEAST = 1e-8  # a distance


def targeted(standing: Standing) -> Tensor:
    """Images like these, those that one target after another has fooled moved inside the ball."""

    def aimed(left: Standing, number: int) -> tuple[Tensor, Tensor]:
        adv_images = _fab(left, left.others[:, number])
        return adv_images, ~holding(left.classify, adv_images, left.labels)

    return standing.by_target(aimed)


def _fab(standing: Standing, targets: Tensor) -> Tensor:
    """The nearest misclassified images that were found, brought into the ball; clean where none was. An image is left
    once it is misclassified inside the ball."""
    images, norm, eps = standing.images, standing.settings.norm, radius(standing.settings.eps)
    length, clip = BALLS[norm].length, BALLS[norm].clip
    nearest, distance = images.clone(), torch.full((len(images), 1, 1, 1), torch.inf).to(images)
    x, rows = images.clone(), torch.arange(len(images), device=images.device)
    for _ in range(standing.settings.steps):
        x0, labels = images[rows], standing.labels[rows]
        lead, gradient = _lead(standing, x, labels, targets[rows])
        d1, d2 = (
            _onto_plane(start, gradient, lead + (gradient * (start - x)).sum(dim=(1, 2, 3)), norm) for start in (x, x0)
        )
        a1, a2 = length(d1).clamp_min(LEAST), length(d2).clamp_min(LEAST)
        alpha = (a1 / (a1 + a2)).clamp(0, ALPHA_MAX)
        x = ((x + ETA * d1) * (1 - alpha) + (x0 + ETA * d2) * alpha).clamp(0, 1)
        fools, far = ~holding(standing.classify, x, labels), length(x - x0)
        nearer = fools[:, None, None, None] & (far < distance[rows])
        nearest[rows], distance[rows] = torch.where(nearer, x, nearest[rows]), torch.where(nearer, far, distance[rows])
        x = torch.where(fools[:, None, None, None], x0 + BETA * (x - x0), x)
        out = (distance[rows, 0, 0, 0] > eps).nonzero()[:, 0]
        x, rows = x[out], rows[out]
        standing.on_step()
        if len(rows) == 0:
            break
    return (images + clip(nearest - images, eps)).clamp(0, 1)


def _lead(standing: Standing, x: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """z_target - z_label, (b,), and its gradient."""
    x = x.detach().requires_grad_()
    logits, rows = standing.classify(x), torch.arange(len(x), device=x.device)
    lead = logits[rows, targets] - logits[rows, labels]
    (gradient,) = torch.autograd.grad(lead.sum(), x)
    return lead.detach(), gradient


def _onto_plane(x: Tensor, w: Tensor, lead: Tensor, norm: str) -> Tensor:
    """The shortest delta with lead + <w, delta> = 0 and x + delta in [0, 1], all (b, 3, S, S) but lead, (b,); where the
    box ends before the plane, to its corner.

    Every pixel moves at its speed, 1 in L-inf and |w| in L2, until its room is used up. The time is found by Newton's
    steps: what is gained grows ever slower, so none goes too far, and after a few no further pixel stops. (A sum over
    sorted pixels would do as well, but a GPU adds it up in any order.)
    """
    shape, x, w = x.shape, x.flatten(1), w.flatten(1)
    way = -(w.sign() * lead.sign()[:, None])
    room, speed = torch.where(way > 0, 1 - x, x), w.abs() if norm == "l2" else torch.ones_like(w)
    ends = torch.where(way != 0, room / speed, 0.0)
    time = torch.zeros_like(lead)[:, None]
    while True:
        moving = ends > time
        gained = torch.where(moving, 0.0, w.abs() * room * (way != 0)).sum(dim=1, keepdim=True)
        rate = torch.where(moving, w.abs() * speed, 0.0).sum(dim=1, keepdim=True)
        later = torch.where(rate > 0, (lead.abs()[:, None] - gained) / rate, torch.inf)
        if bool((later <= time).all()):
            return torch.where(way != 0, way * torch.minimum(time * speed, room), 0.0).view(shape)
        time = torch.maximum(time, later)
