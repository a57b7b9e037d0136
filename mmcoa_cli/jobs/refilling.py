"""The images of several blocks of an example set at once, for an attack that is done with some before others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..attacks.base import Ascent, Goal
from ..attacks.refilling import Part, Refilled

if TYPE_CHECKING:
    from .making import Making


def refilled(making: Making, blocks: Sequence[range], *, told: Callable[[int], object]) -> Iterator[Tensor]:
    """The images of each of these blocks as the attack leaves them, (b, 3, S, S); nothing for an attack that takes a
    block at a time. `told` hears of the steps of an image that are over."""
    ascent = making.attack.images
    if isinstance(ascent, Ascent) and making.makes_images and ascent.leaves_images(making.settings):
        parts = (_part(making, ascent, block) for block in blocks)
        slots = max(map(len, blocks), default=0)
        yield from Refilled(parts, making.settings, slots, in_pieces=making.pieces.of, told=told)


def _part(making: Making, ascent: Ascent, block: range) -> Part:
    """A block that waits: its images, and what is ascended of them from where."""
    pixels: Any = making.trial.pixels(block)
    images = making.trial.as_attacked(pixels, making.victim.device)

    def piece(rows: range) -> tuple[Goal, Tensor]:
        batch = making.batch(images[rows.start - block.start :][: len(rows)], rows, lambda: None)
        return ascent.goal(batch), ascent.start(batch)

    goals, starts = zip(*making.pieces.of(block, piece), strict=True)
    own = tuple(torch.cat(of_pieces) for of_pieces in zip(*(goal.own for goal in goals), strict=True))
    return Part(images, Goal(goals[0].objective, own), torch.cat(starts))
