"""What the tests of plans share: datasets and a speed that need no file and no measurement; an index to report on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.plans.selection import Data, Selection
from mmcoa_cli.plans.speed import Cost, Speed

from ..reports.conftest import add, index  # noqa: F401

# of a piece of work as such, an image, a step of an image, a prompt, a step of a prompt, a class
STEP, CLASSIFY, PGD, WORDS = (
    Cost((32.0, 4.0, 2.0, 0.5, 0.0, 8.0)),
    Cost((0.0, 1.0, 0.0, 0.25, 0.0, 0.0)),
    Cost((0.0, 1.0, 2.0, 0.25, 0.0, 0.0)),
    Cost((0.0, 1.0, 0.0, 24.25, 0.0, 0.0)),
)
SPEED = Speed(
    {
        name: replace(STEP, word=16.0 if name == "mmcoa" else 0.0)
        for name, row in catalog.methods().items()
        if row.loss
    },
    {"clean": CLASSIFY, "image": PGD, "text": WORDS, "multimodal": CLASSIFY},
    load=64.0, load_words=128.0, read=32.0, device="cpu",
)  # fmt: skip


@pytest.fixture
def speed() -> Speed:
    return SPEED


def data(name: str, *, classes: int = 10, train: int = 1000, test: int = 200, here: bool = True) -> Data:
    return Data(name, classes, train, test, here)


def of_the_paper(name: str) -> Selection:
    """All datasets that the table or figure has, as if they lay in the store."""
    row = catalog.tables()[name]
    return Selection(row, tuple(map(data, row.sources)), tuple(map(data, row.tested_on)))
