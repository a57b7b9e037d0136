"""Averages over datasets: by hand, and the paper's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.measured import Measured, as_row, average, half_width
from mmcoa_cli.reports.pivot import panels
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.tasks.intervals import wilson
from store.index import Index

OOD = catalog.tables()["ood"]
Add = Callable[..., Any]


def one(index: Index, *datasets: str, seeds: bool = False) -> Measured | None:
    (panel,) = panels(rows(index, OOD), table=OOD, seeds=seeds)
    return average(panel.lines[0].rows, datasets)


def test_a_half_width_by_hand() -> None:
    assert half_width([(0.2, 0.26), (0.5, 0.58)]) == pytest.approx(math.sqrt(0.03**2 + 0.04**2) / 2)
    assert half_width([(0.2, 0.26), (0.5, 0.58)]) == pytest.approx(0.025)
    assert half_width([(0.1, 0.3)]) == pytest.approx(0.1)
    assert half_width([(0.1, 0.3)] * 4) == pytest.approx(0.05)  # halved by four times the images


def test_an_average_by_hand(index: Index, add: Add) -> None:
    for dataset, correct in (("cifar10", 1000), ("cifar100", 400), ("birds", 9999)):
        add("mmcoa", {"multimodal": correct}, source="imagenet", dataset=dataset)
    found = one(index, "cifar10", "cifar100", "stl10")
    assert found is not None and found.datasets == ("cifar10", "cifar100")
    assert found.value == pytest.approx(0.07)  # 10.00 and 4.00, however many images each has
    sides = [(high - low) / 2 for low, high in (wilson(1000, 10_000), wilson(400, 10_000))]
    assert found.half == pytest.approx(math.hypot(*sides) / 2)
    assert found.paper == pytest.approx((0.6147 + 0.2931) / 2)  # Table II, full training
    assert found.paper_marks == "‡"


def test_without_any_of_the_datasets_there_is_none(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1}, dataset="cifar10")
    assert one(index, "stl10", "dtd") is None


def test_the_papers_average_needs_all_its_numbers(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1000}, dataset="cifar10")
    add("clip", {"multimodal": 1000}, dataset="cifar100", part="1 of 100 classes")
    found = one(index, "cifar10", "cifar100")
    assert found is not None and found.paper is None and found.paper_marks == ""


def test_an_average_for_each_seed_that_has_all_datasets(index: Index, add: Add) -> None:
    for seed, counts in enumerate(((1000, 2000), (1200, 2200), (1400, None))):
        for dataset, correct in zip(("cifar10", "cifar100"), counts, strict=True):
            if correct is not None:
                add("clip", {"multimodal": correct}, dataset=dataset, seed=seed)
    found = one(index, "cifar10", "cifar100", seeds=True)
    assert found is not None and found.by_seed == pytest.approx((0.15, 0.17))
    assert found.value == pytest.approx(0.16) == pytest.approx(found.bar[1])  # what the deviation is around
    assert {row.seed for row in found.rows} == {0, 1}


def test_where_no_seed_has_all_datasets_those_of_each_count(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1000}, dataset="cifar10")
    add("clip", {"multimodal": 2000}, dataset="cifar100", seed=1)
    found = one(index, "cifar10", "cifar100", seeds=True)
    assert found is not None and (found.value, found.by_seed) == (pytest.approx(0.15), ())


def test_an_average_as_a_row(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 0}, dataset="cifar10")
    add("clip", {"multimodal": 10}, dataset="cifar100")
    found = one(index, "cifar10", "cifar100")
    assert found is not None
    row = as_row(found)
    assert (row.dataset, row.value, row.n, row.evaluation) == ("average", pytest.approx(0.0005), 20_000, "")
    assert row.ci95 == pytest.approx((0.0005 - found.half, 0.0005 + found.half)) and row.ci95[0] >= 0


def test_the_papers_printed_averages_are_the_means_of_its_fifteen() -> None:
    lines: dict[tuple[str, ...], dict[str, float]] = {}
    for entry in catalog.paper():
        if entry.table in ("II", "III"):
            key = (entry.table, entry.attack, entry.shots, entry.method)
            lines.setdefault(key, {})[entry.dataset] = 100 * entry.value
    assert len(lines) == 26
    for numbers in lines.values():
        printed = numbers.pop("average")
        assert tuple(numbers) == OOD.datasets  # the paper's order, too
        assert sum(numbers.values()) / 15 == pytest.approx(printed, abs=0.0051)
