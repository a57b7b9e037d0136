"""Slots that are refilled: the results of each image alone, and no more steps than they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from mmcoa_cli.attacks import refilling
from mmcoa_cli.attacks.base import Goal
from mmcoa_cli.attacks.pgd import cross_entropy, pgd, pgd_iterates
from mmcoa_cli.attacks.refilling import Part, Refilled
from mmcoa_cli.attacks.settings import PgdSettings
from store.errors import UserError

N, STEPS = 60, 12


class Case:
    """60 images of which a random linear classifier calls some wrong at once, some later, and some never."""

    def __init__(self, norm: str) -> None:
        rng = torch.Generator().manual_seed(3)
        self.images = torch.rand(N, 3, 6, 6, generator=rng, dtype=torch.float64)
        self.start = (torch.rand(self.images.shape, generator=rng, dtype=torch.float64) - 0.5) / 100
        self.weight = torch.randn(5, 108, generator=rng, dtype=torch.float64)
        eps, alpha = ("6/255", "0.7/255") if norm == "linf" else ("0.2", "0.03")
        self.settings = PgdSettings(norm, eps, alpha, STEPS, stop_when_fooled=True)
        self.labels = self.classify(self.images).argmax(dim=1)
        self.labels[::7] = (self.labels[::7] + 1) % 5

    def classify(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T

    def parts(self, sizes: list[int], order: Tensor) -> Iterator[Part]:
        for rows in order.split(sizes):
            goal = cross_entropy(self.classify, self.labels[rows], stop_when_fooled=True)
            yield Part(self.images[rows], goal, self.start[rows])

    def alone(self) -> tuple[Tensor, list[int]]:
        """Each image by itself, and the steps that it takes."""
        found, steps = [], []
        for row in range(N):
            own = (self.classify, self.images[row : row + 1], self.labels[row : row + 1])
            kept = {"settings": self.settings, "start": self.start[row : row + 1]}
            found.append(pgd(*own, **kept))
            steps.append(len(list(pgd_iterates(*own, **kept))) - 1)
        return torch.cat(found), steps


@pytest.fixture(params=["linf", "l2"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("sizes", [[60], [20, 20, 20], [7] * 8 + [4], [1] * 60], ids=len)
@pytest.mark.parametrize("slots", [1, 7, 25, 100])
def test_an_image_comes_out_as_it_does_alone(case: Case, slots: int, sizes: list[int]) -> None:
    """To the last bits of double precision, in any order, whoever is beside it; and takes as many steps."""
    alone, steps = case.alone()
    assert {1, STEPS} <= set(steps) and len(set(steps)) > 4, "no image is left on the way: the test would show nothing"
    order = torch.randperm(N, generator=torch.Generator().manual_seed(slots))
    told: list[int] = []
    refilled = Refilled(case.parts(sizes, order), case.settings, slots, told=told.append)
    found = list(refilled)
    assert [len(part) for part in found] == sizes
    torch.testing.assert_close(torch.cat(found), alone[order], rtol=0, atol=1e-12)
    assert refilled.taken == sum(steps)
    assert sum(told) == N * STEPS  # those that are not needed too


def test_slots_are_full_until_no_image_waits(case: Case) -> None:
    sizes: list[int] = []

    def in_pieces(rows: range, work: Callable[[range], tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        sizes.append(len(rows))
        return [work(rows)]

    list(Refilled(case.parts([10] * 6, torch.arange(N)), case.settings, 10, in_pieces=in_pieces))
    _, steps = case.alone()
    full = sizes.count(10)
    assert sizes[:full] == [10] * full and len(sizes) - full <= STEPS
    assert sum(sizes) == sum(steps)


def test_memory_may_take_it_in_pieces(case: Case) -> None:
    def in_pieces(rows: range, work: Callable[[range], tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [work(rows[first : first + 3]) for first in range(0, len(rows), 3)]

    found = list(Refilled(case.parts([20] * 3, torch.arange(N)), case.settings, 16, in_pieces=in_pieces))
    torch.testing.assert_close(torch.cat(found), case.alone()[0], rtol=0, atol=1e-12)


def test_few_parts_are_begun_ahead(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long an image takes, what waits for it stays small; and a part is done before the last is begun."""
    monkeypatch.setattr(refilling, "AHEAD", 12)
    begun: list[int] = []

    def parts() -> Iterator[Part]:
        for number, part in enumerate(case.parts([4] * 15, torch.arange(N))):
            begun.append(number)
            yield part

    found = []
    for number, part in enumerate(Refilled(parts(), case.settings, 8)):
        assert len(begun) - number <= 4
        found.append(part)
    torch.testing.assert_close(torch.cat(found), case.alone()[0], rtol=0, atol=1e-12)


def test_gradients_that_are_none_are_refused(case: Case) -> None:
    def objective(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        return (x * float("nan")).sum(), None

    goal = Goal(objective, (case.labels,))
    with pytest.raises(UserError, match="the gradients of the attack are not all finite numbers"):
        list(Refilled([Part(case.images, goal, case.start)], case.settings, 8))
