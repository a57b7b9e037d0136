"""The image attack: projected gradient descent in pixel space (Madry et al., 2018; the paper's Eq. 2-3).

Pixels are in [0, 1], before the resize to the encoder's input and before normalisation. The loss is the cross-entropy
of the image against all K clean class prompts, and only delta is ever differentiated: no gradient reaches a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.finite import require_finite
from ..randomness import keyed
from .radii import radius
from .settings import PgdSettings

VERSION = 1  # part of every key: raise it when the same specification would give other images


@dataclass(frozen=True)
class Norm:
    """What the ball's norm decides: the start inside it, the direction of steepest ascent, the way back onto it."""

    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
    normalize: Callable[[Tensor], Tensor]
    project: Callable[[Tensor, float], Tensor]


def _draw_linf(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return rng.random(shape, dtype=np.float32) * 2 - 1


def _draw_l2(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    direction = rng.standard_normal(shape, dtype=np.float32)
    length = np.linalg.norm(direction).astype(np.float32)
    return direction / length * np.float32(rng.random(dtype=np.float32))


def _length(delta: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(delta, dim=(1, 2, 3), keepdim=True)
    return length


NORMS = {
    "linf": Norm(_draw_linf, torch.sign, lambda delta, eps: delta.clamp(-eps, eps)),
    "l2": Norm(
        _draw_l2,
        lambda gradient: gradient / (_length(gradient) + 1e-10),
        lambda delta, eps: delta * (eps / _length(delta).clamp_min(1e-12)).clamp(max=1),
    ),
}


def random_start(attack: PgdSettings, images: Tensor, *, indices: Sequence[int], seed: int, epoch: int = 0) -> Tensor:
    """delta_0 of each sample, from the generator of (seed, its index): uniform in the L-inf ball; in the L2 ball
    uniform in direction with a uniform radius. Shape and device of `images`, (B, 3, H, W)."""
    if not attack.random_start:
        return torch.zeros_like(images)
    shape = tuple(images.shape[1:])
    unit = np.stack([NORMS[attack.norm].draw(keyed(seed, int(i), epoch=epoch), shape) for i in indices])
    return torch.from_numpy(unit).to(images) * radius(attack.eps)


def pgd(
    classify: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    attack: PgdSettings,
    start: Tensor,
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """The last iterate of `iterates`, with float noise around the 1/255 grid removed: (B, 3, H, W) in [0, 1]."""
    trajectory = iterates(classify, images, labels, attack=attack, start=start)
    adv_images = next(trajectory)
    for adv_images in trajectory:  # noqa: B007  (the last one is what PGD returns)
        on_step()
    return finished(adv_images, attack)


def finished(images: Tensor, attack: PgdSettings) -> Tensor:
    """The last iterate as an attack's result, float noise around the 1/255 grid removed.

    Raises UserError for NaN, into which a gradient that is none turns a pixel for good.
    """
    require_finite(images, "the images of the attack")
    return snap_to_grid(images) if attack.stays_on_grid else images


def iterates(
    classify: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, attack: PgdSettings, start: Tensor
) -> Iterator[Tensor]:
    """Every x + delta of PGD, the start first, `steps` + 1 in all.

    delta <- project(delta + alpha * normalize(grad_delta CE(classify(x + delta), label))), then into the image box.
    `classify` maps pixels (B, 3, H, W) to logits (B, K). With `stop_when_fooled` a misclassified sample stays as it is.
    """
    norm, eps, alpha = NORMS[attack.norm], radius(attack.eps), attack.step_size
    delta = _into_box(start, images)
    active = torch.arange(len(images), device=images.device)
    yield (images + delta).clamp(0, 1)
    for _ in range(attack.steps):
        x, d = images[active], delta[active].requires_grad_()
        logits = classify(x + d)
        loss = F.cross_entropy(logits, labels[active], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, d)
        require_finite(gradient, "the gradients of the attack")  # the sign of NaN is 0: a step that is none
        stepped = norm.project(d.detach() + alpha * norm.normalize(gradient), eps)
        stepped = _into_box(stepped, x)
        if attack.stop_when_fooled:
            holds = logits.argmax(dim=1) == labels[active]
            active, stepped = active[holds], stepped[holds]
        delta[active] = stepped
        yield (images + delta).clamp(0, 1)
        if len(active) == 0:
            return


def _into_box(delta: Tensor, images: Tensor) -> Tensor:
    """The nearest delta with images + delta in [0, 1]."""
    return delta.clamp(-images, 1 - images)


def snap_to_grid(images: Tensor) -> Tensor:
    """Pixels within a thousandth of a level of k/255 become exactly k/255; others stay as they are."""
    white = images.new_tensor(255.0)  # a tensor, because a GPU divides by a plain number inexactly
    levels = images * white
    nearest = levels.round()
    return torch.where((levels - nearest).abs() < 1e-3, nearest / white, images)
