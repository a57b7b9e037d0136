"""Gradient ascent that leaves an image once it is fooled, and takes the next one in its place.

Images wait in parts, in order. So many as there are slots are moved at once, each with the steps it has taken; where
some are left, others come from the parts behind. An image's own numbers do not depend on who is beside it: what comes
out is the same, up to the rounding of matrix products, in any order and for any number of slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..models.finite import Watched
from .base import Goal
from .pgd import GRADIENTS, into_box, result, stepped
from .settings import PgdSettings

AHEAD = 1024  # images of parts that are not whole, or wait for one that is not; but a part is always ahead

Moved = tuple[Tensor, Tensor]  # the next deltas, and which of the images go on
InPieces = Callable[[range, Callable[[range], Moved]], list[Moved]]  # of rows, as memory allows


@dataclass(frozen=True)
class Part:
    """Images that wait, (n, 3, S, S), with what is ascended of them and the delta of each that it begins with."""

    images: Tensor
    goal: Goal
    start: Tensor


@dataclass(frozen=True)
class Slots:
    """Images that are moved, (n, 3, S, S), with their deltas and their goal; and of each its part, its row there, and
    the steps that it has taken, (n,), on the CPU."""

    x: Tensor
    delta: Tensor
    goal: Goal
    part: Tensor
    row: Tensor
    taken: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def of(self, rows: Tensor) -> Slots:
        """Those of these rows, (m,), on the CPU."""
        there = rows.to(self.x.device)
        return Slots(
            self.x[there], self.delta[there], self.goal.of(there), self.part[rows], self.row[rows], self.taken[rows]
        )

    def beside(self, others: Slots) -> Slots:
        """Both, these first."""
        own = tuple(torch.cat(both) for both in zip(self.goal.own, others.goal.own, strict=True))
        pairs = {name: torch.cat([getattr(self, name), getattr(others, name)]) for name in TENSORS}
        return Slots(goal=Goal(self.goal.objective, own), **pairs)


TENSORS = ("x", "delta", "part", "row", "taken")


@dataclass
class Refilled:
    """The results of parts in their order, each as `pgd.last` gives it. Raises UserError as that does.

    `settings` say that a fooled image is left. So many as there are `slots` are moved at once, `in_pieces` as memory
    allows. `told` hears of steps of an image that are taken, and of those that it does not need.
    """

    parts: Iterable[Part]
    settings: PgdSettings
    slots: int
    in_pieces: InPieces = lambda rows, work: [work(rows)]
    told: Callable[[int], object] = lambda steps: None
    taken: int = 0  # steps of an image
    _moving: Slots | None = None
    _rest: Slots | None = None  # of the part that is not in its slots whole
    _results: dict[int, Tensor] = field(default_factory=dict)
    _missing: dict[int, int] = field(default_factory=dict)  # images of a part that are not there yet

    def __iter__(self) -> Iterator[Tensor]:
        seen, waiting, done = Watched(GRADIENTS), self._waiting(), 0
        while self._fill(waiting) or self._results:
            if self._missing[done]:
                self._step(seen)
                continue
            seen.require()
            yield result(self._results.pop(done), self.settings)
            done += 1

    def _waiting(self) -> Iterator[Slots]:
        for number, part in enumerate(self.parts):
            self._results[number], self._missing[number] = torch.empty_like(part.images), len(part.images)
            row, delta = torch.arange(len(part.images)), into_box(part.start, part.images)
            yield Slots(part.images, delta, part.goal, torch.full_like(row, number), row, torch.zeros_like(row))

    def _fill(self, waiting: Iterator[Slots]) -> bool:
        """Put images into the free slots. Returns whether there are any in slots."""
        while (free := self.slots - len(self._moving or ())) > 0 and (rest := self._rest or self._next(waiting)):
            first, behind = torch.arange(len(rest)).split([min(free, len(rest)), max(0, len(rest) - free)])
            self._moving = self._moving.beside(rest.of(first)) if self._moving else rest.of(first)
            self._rest = rest.of(behind) if len(behind) else None
        return bool(self._moving)

    def _next(self, waiting: Iterator[Slots]) -> Slots | None:
        """The next part; None where too many wait for an image before them."""
        ahead = sum(map(len, self._results.values()))
        return next(waiting, None) if ahead < AHEAD or len(self._results) < 2 else None

    def _step(self, seen: Watched) -> None:
        """Move every image that is in a slot, and let those go that are fooled, or have taken all steps."""
        assert self._moving is not None
        slots = self._moving

        def move(rows: range) -> Moved:
            some = slice(rows.start, rows.stop)
            goal, x, delta = slots.goal.of(some), slots.x[some], slots.delta[some]
            delta, holds = stepped(goal, x, delta, settings=self.settings, seen=seen)
            return delta, torch.ones(len(x), dtype=torch.bool, device=x.device) if holds is None else holds

        moved = self.in_pieces(range(len(slots)), move)
        delta, holds = (torch.cat(parts) for parts in zip(*moved, strict=True))
        taken = slots.taken + 1
        slots = replace(slots, delta=torch.where(holds[:, None, None, None], delta, slots.delta), taken=taken)
        stays = holds.cpu() & (taken < self.settings.steps)
        self.taken += len(slots)
        self.told(len(slots) + int((self.settings.steps - taken[~stays]).sum()))
        if not stays.all():
            self._let_go(slots.of((~stays).nonzero()[:, 0]))
            slots = slots.of(stays.nonzero()[:, 0])
        self._moving = slots if len(slots) else None

    def _let_go(self, slots: Slots) -> None:
        adv_images = (slots.x + slots.delta).clamp(0, 1)
        for number in slots.part.unique().tolist():
            of_part = slots.part == number
            there = slots.row[of_part].to(adv_images.device)
            self._results[number][there] = adv_images[of_part.to(adv_images.device)]
            self._missing[number] -= len(there)
