"""Projected gradient ascent in pixel space (Madry et al., 2018; the paper's Eq. 2-3), on any loss, in two norms.

Pixels are in [0, 1], before the resize to the encoder's input and before normalisation. Only delta is ever
differentiated: no gradient reaches a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.finite import Watched, require_finite
from .base import Goal
from .radii import radius
from .settings import AscentSettings, PgdSettings

GRADIENTS = "the gradients of the attack"


@dataclass(frozen=True)
class Norm:
    """What the ball's norm decides: the direction of steepest ascent, and the way back onto it."""

    normalize: Callable[[Tensor], Tensor]
    project: Callable[[Tensor, float], Tensor]


def l2(delta: Tensor, dim: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """The length of each image's delta, or of its parts, with 1 in place of these dimensions."""
    found: Tensor = torch.linalg.vector_norm(delta, dim=dim, keepdim=True)
    return found


NORMS = {
    "linf": Norm(torch.sign, lambda delta, eps: delta.clamp(-eps, eps)),
    "l2": Norm(
        lambda gradient: gradient / (l2(gradient) + 1e-10),
        lambda delta, eps: delta * (eps / l2(delta).clamp_min(1e-12)).clamp(max=1),
    ),
}


def pgd(
    classify: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    settings: PgdSettings,
    start: Tensor,
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """PGD on the cross-entropy of `classify`, which maps pixels (B, 3, H, W) to logits (B, K): images like these."""
    return last(pgd_iterates(classify, images, labels, settings=settings, start=start), settings, on_step)


def pgd_iterates(
    classify: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, settings: PgdSettings, start: Tensor
) -> Iterator[Tensor]:
    """Every x + delta of PGD, the start first."""
    goal = cross_entropy(classify, labels, stop_when_fooled=settings.stop_when_fooled)
    return iterates(goal, images, settings=settings, start=start)


def ascend(
    loss: Callable[[Tensor], Tensor],
    images: Tensor,
    settings: AscentSettings,
    *,
    start: Tensor,
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """The same on any loss, of pixels (B, 3, H, W) to a number that is summed over the images."""
    goal = Goal(lambda x: (loss(x).sum(), None))
    return last(iterates(goal, images, settings=settings, start=start), settings, on_step)


def last(trajectory: Iterator[Tensor], settings: AscentSettings, on_step: Callable[[], None] = lambda: None) -> Tensor:
    """The last iterate as an attack's result: (B, 3, H, W) in [0, 1], float noise around the 1/255 grid removed.

    Raises UserError for NaN, into which a gradient that is none turns a pixel for good.
    """
    adv_images = next(trajectory)
    for adv_images in trajectory:  # noqa: B007  (the last one is what PGD returns)
        on_step()
    return result(adv_images, settings)


def result(adv_images: Tensor, settings: AscentSettings) -> Tensor:
    """These iterates as an attack's result. Raises UserError as `last` does."""
    require_finite(adv_images, "the images of the attack")
    return snap_to_grid(adv_images) if settings.stays_on_grid else adv_images


def cross_entropy(classify: Callable[[Tensor], Tensor], labels: Tensor, *, stop_when_fooled: bool = False) -> Goal:
    """CE(classify(x), label), summed. With `stop_when_fooled` a misclassified image stays as it is."""

    def objective(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = classify(x)
        holds = logits.argmax(dim=1) == labels if stop_when_fooled else None
        return F.cross_entropy(logits, labels, reduction="sum"), holds

    return Goal(objective, (labels,))


@torch.no_grad()
def holding(classify: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """Which of these images are still given their label, alone or in a tie: (b,)."""
    logits = classify(x)
    return logits.gather(1, labels[:, None])[:, 0] == logits.amax(dim=1)


def iterates(goal: Goal, images: Tensor, *, settings: AscentSettings, start: Tensor) -> Iterator[Tensor]:
    """Every x + delta, the start first, `steps` + 1 in all.

    delta <- project(delta + alpha * normalize(grad_delta goal(x + delta))), then into the image box.
    Raises UserError, after the last, for gradients that were not finite: the sign of NaN is 0, a step that is none.
    """
    x, delta, seen = images, into_box(start, images), Watched(GRADIENTS)
    every, left = delta, None  # the rows that go on; None: all
    yield (images + delta).clamp(0, 1)
    for _ in range(settings.steps):
        delta, holds = stepped(goal, x, delta, settings=settings, seen=seen)
        if holds is not None:
            kept = holds.nonzero()[:, 0]
            left = kept if left is None else left[kept]
            x, delta, goal = x[kept], delta[kept], goal.of(kept)
        every = delta if left is None else every.index_copy(0, left, delta)
        yield (images + every).clamp(0, 1)
        if len(x) == 0:
            break
    seen.require()


def stepped(
    goal: Goal, x: Tensor, delta: Tensor, *, settings: AscentSettings, seen: Watched
) -> tuple[Tensor, Tensor | None]:
    """The next delta of each image, and which of them go on (None: all): those that do not keep the one they had."""
    norm, delta = NORMS[settings.norm], delta.detach().requires_grad_()
    value, holds = goal(x + delta)
    (gradient,) = torch.autograd.grad(value, delta)
    seen.saw(gradient)
    moved = delta.detach() + settings.step_size * norm.normalize(gradient)
    return into_box(norm.project(moved, radius(settings.eps)), x), holds


def into_box(delta: Tensor, images: Tensor) -> Tensor:
    """The nearest delta with images + delta in [0, 1]."""
    return delta.clamp(-images, 1 - images)


def snap_to_grid(images: Tensor) -> Tensor:
    """Pixels within a thousandth of a level of k/255 become exactly k/255; others stay as they are."""
    white = images.new_tensor(255.0)  # a tensor, because a GPU divides by a plain number inexactly
    levels = images * white
    nearest = levels.round()
    return torch.where((levels - nearest).abs() < 1e-3, nearest / white, images)
