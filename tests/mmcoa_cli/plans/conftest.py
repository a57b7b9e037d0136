"""What the tests of reproductions share: datasets and a speed that need no file and no measurement."""

from __future__ import annotations

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.plans.cost import Speed
from mmcoa_cli.plans.selection import Data, Selection

SPEED = Speed(
    forward=1.0, gradient=2.0, update=4.0, prompt=0.25, prompt_update=0.5, prompt_attack=8.0,
    candidates=16.0, optimizer=32.0, load=64.0, device="cpu",
)  # fmt: skip


@pytest.fixture
def speed() -> Speed:
    return SPEED


def data(name: str, *, classes: int = 10, train: int = 1000, test: int = 200, here: bool = True) -> Data:
    return Data(name, classes, train, test, here)


def of_the_paper(name: str) -> Selection:
    """All datasets that the table or figure has, as if they lay in the store."""
    row = catalog.tables()[name]
    return Selection(tuple(map(data, row.sources)), tuple(map(data, row.tested_on)), ())
