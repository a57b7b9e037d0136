"""Auto-PGD (Croce and Hein, 2020, Algorithm 1): PGD with momentum that halves its step where it no longer gains.

Every image has a step size, a best iterate and a history of its own: nothing but rounding depends on the batch. An
image is left once it is misclassified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.finite import Watched
from .pgd import GRADIENTS, l2
from .radii import radius
from .starts import drawn

if TYPE_CHECKING:
    from .autoattack import Standing

RHO, MOMENTUM = 0.75, 0.75  # the share of a window's steps that has to gain; the weight of a step beside the last one
FIRST_WINDOW, LAST_WINDOW, SHORTER = 0.22, 0.06, 0.03  # of all steps
TINY = 1e-12
DLR_DRAW = 2**32  # of a start's random numbers: cross-entropy has the first, target r the one after r others

Objective = Callable[[Tensor, Tensor], Tensor]  # of logits (b, K) and their rows (b,): what is ascended, (b,)


class Ball(NamedTuple):
    """What the norm decides: a delta's length, the direction of steepest ascent, and the way back into the ball."""

    length: Callable[[Tensor], Tensor]
    ascent: Callable[[Tensor], Tensor]
    clip: Callable[[Tensor, float], Tensor]

    def project(self, x: Tensor, images: Tensor, eps: float) -> Tensor:
        return (images + self.clip(x - images, eps)).clamp(0, 1)


BALLS = {
    "linf": Ball(lambda d: d.abs().amax(dim=(1, 2, 3), keepdim=True), torch.sign, lambda d, eps: d.clamp(-eps, eps)),
    "l2": Ball(l2, lambda g: g / (l2(g) + TINY), lambda d, eps: d / (l2(d) + TINY) * l2(d).clamp(max=eps)),
}


@dataclass(frozen=True)
class State:
    """What APGD knows of the images that it has not fooled yet: tensors of a row for each."""

    rows: Tensor
    images: Tensor
    x: Tensor
    before: Tensor  # the iterate before x
    value: Tensor
    last_value: Tensor
    gradient: Tensor
    best: Tensor
    best_value: Tensor
    best_gradient: Tensor
    eta: Tensor  # the step size
    rises: Tensor  # in this window
    best_then: Tensor  # the best value when the window began
    halved: Tensor  # whether the step was halved then

    def of(self, kept: Tensor) -> State:
        return State(*(getattr(self, field.name)[kept] for field in fields(self)))


def apgd(standing: Standing, objective: Objective, *, draw: int) -> tuple[Tensor, Tensor]:
    """Images like these, those that are misclassified moved inside the ball, (b, 3, S, S); and which they are, (b,).

    Raises UserError for gradients that were not finite.
    """
    settings, images = standing.settings, standing.images
    ball, eps = BALLS[settings.norm], radius(settings.eps)
    unit = drawn(settings.norm, images, indices=standing.indices, seed=standing.seed, draw=draw)
    x = (images + eps * unit / (ball.length(unit) + TINY)).clamp(0, 1)  # from the surface
    found, fooled = images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    seen = Watched(GRADIENTS)

    def look(state: State) -> State:
        """The state with value and gradient at x, without the images that are misclassified there."""
        value, gradient, fools = _look(standing, objective, state.x, state.rows)
        seen.saw(gradient)
        state = replace(state, value=value, last_value=state.value, gradient=gradient)
        if not fools.any():  # the only time in a step that a GPU is waited for
            return state
        left, kept = (which.nonzero()[:, 0] for which in (fools, ~fools))
        found[state.rows[left]], fooled[state.rows[left]] = state.x[left], True
        return state.of(kept)

    state = look(_begun(images, x, eps))
    state = replace(
        state, best_value=state.value, best_then=state.value, best_gradient=state.gradient,
        value=torch.zeros_like(state.value),  # as published: the first step rises where it ends above 0
    )  # fmt: skip
    for step, window in enumerate(_windows(settings.steps)):
        if len(state.rows) == 0:
            break
        moved = _moved(state, ball, eps, momentum=MOMENTUM if step else 1.0)
        state = _remembered(look(replace(state, x=moved, before=state.x)))
        state = _halved(state, window) if window else state
        standing.on_step()
    seen.require()
    return found, fooled


def _begun(images: Tensor, x: Tensor, eps: float) -> State:
    zero = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    rows, never = torch.arange(len(images), device=images.device), zero == 0
    return State(rows, images, x, x, zero, zero, x, x, zero, x, zero + 2 * eps, zero, zero, never)


def _look(standing: Standing, objective: Objective, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The objective at x, (b,), its gradient, and whether x is misclassified, (b,)."""
    x, labels = x.detach().requires_grad_(), standing.labels[rows]
    logits = standing.classify(x)
    value = objective(logits, rows)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    own = logits.gather(1, labels[:, None])[:, 0]
    return value.detach(), gradient, (own < logits.amax(dim=1)).detach()


def _moved(state: State, ball: Ball, eps: float, *, momentum: float) -> Tensor:
    """z = project(x + eta ascent(gradient)), then project(x + momentum (z - x) + (1 - momentum) (x - before))."""
    x = state.x
    z = ball.project(x + state.eta[:, None, None, None] * ball.ascent(state.gradient), state.images, eps)
    return ball.project(x + momentum * (z - x) + (1 - momentum) * (x - state.before), state.images, eps)


def _remembered(state: State) -> State:
    """The state with the best that was seen, and whether the last step rose."""
    better = state.value > state.best_value
    of_pixels = better[:, None, None, None]
    return replace(
        state,
        rises=state.rises + (state.value > state.last_value),
        best=torch.where(of_pixels, state.x, state.best),
        best_gradient=torch.where(of_pixels, state.gradient, state.best_gradient),
        best_value=torch.where(better, state.value, state.best_value),
    )


def _halved(state: State, window: int) -> State:
    """At the end of a window: half the step, and back to the best iterate, where fewer than RHO of the steps rose, or
    where neither the step nor the best value has changed since the window before."""
    stuck = ~state.halved & (state.best_then >= state.best_value)
    halve = (state.rises <= RHO * window) | stuck
    of_pixels = halve[:, None, None, None]
    return replace(
        state,
        eta=torch.where(halve, state.eta / 2, state.eta),
        x=torch.where(of_pixels, state.best, state.x),
        gradient=torch.where(of_pixels, state.best_gradient, state.gradient),
        rises=torch.zeros_like(state.rises),
        best_then=state.best_value,
        halved=halve,
    )


def _windows(steps: int) -> Iterator[int]:
    """For each step the length of the window that ends with it, 0 where none does: 22, 19, 16 ... 6 of 100."""
    window, least, shorter = (max(int(share * steps), 1) for share in (FIRST_WINDOW, LAST_WINDOW, SHORTER))
    since = 0
    for _ in range(steps):
        since += 1
        yield window if since == window else 0
        if since == window:
            window, since = max(window - shorter, least), 0


def cross_entropy(standing: Standing) -> Tensor:
    """APGD-CE. With tau = 100 it saturates: where a model is sure of its answer, the gradient is 0 in single precision,
    and the attack blind. The ratios below are the same for any tau."""
    labels = standing.labels
    return apgd(standing, lambda z, rows: F.cross_entropy(z, labels[rows], reduction="none"), draw=0)[0]


def difference_of_logits_ratio(standing: Standing) -> Tensor:
    """APGD-DLR, from 3 classes on."""
    return apgd(standing, lambda z, rows: dlr(z, standing.labels[rows]), draw=DLR_DRAW)[0]


def targeted(standing: Standing) -> Tensor:
    """APGD-T, with one target after another; from 4 classes on."""

    def aimed(left: Standing, number: int) -> tuple[Tensor, Tensor]:
        labels, targets = left.labels, left.others[:, number]
        return apgd(left, lambda z, rows: targeted_dlr(z, labels[rows], targets[rows]), draw=1 + number)

    return standing.by_target(aimed)


def dlr(z: Tensor, labels: Tensor) -> Tensor:
    """-(z_y - max_(i != y) z_i) / (z_(1) - z_(3)), z_(i) the i-th greatest logit: (b, K), (b,) -> (b,) (Eq. 6)."""
    own, top = _at(z, labels), z.topk(3, dim=1).values
    best_other = torch.where(own == top[:, 0], top[:, 1], top[:, 0])
    return -(own - best_other) / (top[:, 0] - top[:, 2] + TINY)


def targeted_dlr(z: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2): (b, K), (b,), (b,) -> (b,) (Eq. 7)."""
    own, aim, top = _at(z, labels), _at(z, targets), z.topk(4, dim=1).values
    return -(own - aim) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + TINY)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
