"""What a report says of two attacks in the same ball, of which one is stricter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from store.index import Index

Add = Callable[..., Any]


def remarks(index: Index, table: str, *attacks: str) -> list[str]:
    row = catalog.tables()[table]
    report = report_of(rows(index, row, attacks=attacks), row)
    return [remark for sheet in report.sheets() for remark in sheet.remarks if "autoattack" in remark]


def test_by_how_many_points_pgd_overestimates(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 8455, "autoattack": 8301, "clean": 9617})
    add("tecoa", {"image": 8000, "autoattack": 8000})
    add("clip", {"autoattack": 900})
    assert remarks(index, "iid", "image", "autoattack", "clean") == [
        "tecoa, full: autoattack fools no more than image",
        "mmcoa, full: image overestimates by 1.54 points what stands against autoattack",
    ]
    assert remarks(index, "iid", "autoattack") == []


@pytest.mark.parametrize(
    "other", [{"eps": "2/255"}, {"norm": "l2"}, {"seed": 1}, {"n": 9_000}, {"pixel_size": 224}], ids=str
)
def test_nothing_is_said_of_other_balls_or_images(index: Index, add: Add, other: dict[str, Any]) -> None:
    add("mmcoa", {"image": 8455})
    add("mmcoa", {"autoattack": 8301}, **({"run_seed": 0} | other))
    assert remarks(index, "iid", "image", "autoattack") == []


def test_where_each_attack_has_a_table_of_its_own(index: Index, add: Add) -> None:
    """The average over the datasets on which both were run."""
    for dataset, found in (("cifar10", (5000, 4900)), ("cifar100", (3000, 2700)), ("stl10", (7000, None))):
        of = {"image": found[0], **({"autoattack": found[1]} if found[1] else {})}
        add("mmcoa", of, source="imagenet", dataset=dataset)
    assert remarks(index, "ood", "image", "autoattack") == [
        "mmcoa, full: image overestimates by 2.00 points what stands against autoattack, on average over 2 results"
    ]
