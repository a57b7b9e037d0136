"""Sections whose columns are datasets: their order, and what never shares one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.pivot import Panel, panels
from mmcoa_cli.reports.reading import rows
from store.errors import UserError
from store.index import Index

OOD = catalog.tables()["ood"]
Add = Callable[..., Any]


def found(index: Index, *attacks: str, seeds: bool = False) -> list[Panel]:
    return panels(rows(index, OOD, attacks=attacks), table=OOD, seeds=seeds)


def labels(grid: Panel) -> list[str]:
    return [line.label for line in grid.lines]


def cells(grid: Panel) -> list[list[str]]:
    return [list(line.cells) for line in grid.lines]


def test_lines_are_in_the_order_of_table_ii(index: Index, add: Add) -> None:
    for shots in ("full", "50", "1", "5"):
        for method in ("mmcoa", "tecoa", "ft-standard"):
            add(method, {"multimodal": 1}, source="imagenet", shots=shots)
    add("clip", {"multimodal": 1})
    (grid,) = found(index)
    printed = dict.fromkeys((e.method, e.shots) for e in catalog.paper() if e.table == "II")
    assert [(line.first.method, line.first.shots) for line in grid.lines] == list(printed)
    assert labels(grid)[:5] == [
        "clip, zero-shot", "ft-standard, 1-shot", "tecoa, 1-shot", "mmcoa, 1-shot", "ft-standard, 5-shot",
    ]  # fmt: skip


def test_columns_are_in_the_papers_order_and_the_users_own_apart(index: Index, add: Add) -> None:
    for dataset in ("zebras", "dtd", "cifar10", "birds", "imagenet"):
        add("mmcoa", {"multimodal": 1}, source="imagenet", dataset=dataset)
    (grid,) = found(index)
    assert grid.columns == ["imagenet", "cifar10", "dtd"] and grid.others == ["birds", "zebras"]


def test_every_source_has_a_grid_and_zero_shot_stands_in_each(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1})
    add("mmcoa", {"multimodal": 1}, source="tinyimagenet", dataset="cifar10")
    add("mmcoa", {"multimodal": 1}, source="imagenet", dataset="cifar10")
    add("mmcoa", {"multimodal": 1}, source="cifar10", dataset="cifar10")  # tested on nothing else
    first, second = found(index)
    assert (first.fields["source"], second.fields["source"]) == ("imagenet", "tinyimagenet")
    assert labels(first) == labels(second) == ["clip, zero-shot", "mmcoa, full"]


def test_without_a_test_elsewhere_every_source_is_shown(index: Index, add: Add) -> None:
    add("mmcoa", {"multimodal": 1}, source="cifar10", dataset="cifar10")
    assert [grid.fields["source"] for grid in found(index)] == ["cifar10"]


def test_the_papers_source_is_shown_as_soon_as_it_is_trained_on(index: Index, add: Add) -> None:
    add("mmcoa", {"multimodal": 1}, source="imagenet", dataset="imagenet")
    add("mmcoa", {"multimodal": 1}, source="tinyimagenet", dataset="cifar10")
    assert [grid.fields["source"] for grid in found(index)] == ["imagenet", "tinyimagenet"]


def test_only_zero_shot(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1})
    (grid,) = found(index)
    assert grid.fields["source"] == "" and labels(grid) == ["clip, zero-shot"]


def test_zero_shot_measured_otherwise_stands_alone(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1})
    for source in ("imagenet", "tinyimagenet"):
        add("mmcoa", {"multimodal": 1}, source=source, dataset="cifar10", n=500, limit=500)
    assert [(grid.fields["source"], grid.limit) for grid in found(index)] == [
        ("", None),
        ("imagenet", 500),
        ("tinyimagenet", 500),
    ]


def test_every_attack_has_its_grid(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1, "clean": 2, "image": 3, "text": 4})
    assert [grid.rows[0].attack for grid in found(index)] == ["multimodal"]
    assert [grid.rows[0].attack for grid in found(index, "clean", "text")] == ["clean", "text"]
    with pytest.raises(UserError, match="--attack pgd is unknown"):
        found(index, "pgd")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "tiny-clip"},
        {"seed": 1},
        {"compat": "release"},
        {"precision": "bf16"},
        {"eps": "2/255"},
        {"steps": 10},
        {"mlm": "tiny-mlm"},
        {"no_collisions": True},
        {"n": 500, "limit": 500},
    ],
    ids=str,
)
def test_what_was_measured_otherwise_has_its_own_grid(index: Index, add: Add, change: dict[str, Any]) -> None:
    for dataset in ("cifar10", "cifar100"):
        add("clip", {"multimodal": 100}, dataset=dataset)
    add("clip", {"multimodal": 100}, dataset="stl10", **change)
    assert sorted(grid.columns for grid in found(index)) == [["cifar10", "cifar100"], ["stl10"]]


def test_datasets_have_images_of_their_own_number_and_size(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1}, dataset="cifar10", n=10_000, pixel_size=32)
    add("clip", {"multimodal": 1}, dataset="stl10", n=8000, pixel_size=96)
    (grid,) = found(index)
    assert [(row.n, row.pixel_size) for row in grid.rows] == [(10_000, 32), (8000, 96)]


def test_a_whole_test_set_under_the_limit_stands_with_the_subsets(index: Index, add: Add) -> None:
    for source in ("", "imagenet"):
        method = "mmcoa" if source else "clip"
        add(method, {"multimodal": 1}, source=source, dataset="cifar10", n=1000, limit=1000)
        add(method, {"multimodal": 1}, source=source, dataset="dtd", n=400)
    (grid,) = found(index)
    assert grid.limit == 1000 and cells(grid) == [["cifar10", "dtd"]] * 2
    add("clip", {"multimodal": 1}, dataset="cifar10", n=10_000)
    whole, subsets = found(index)
    assert (whole.limit, subsets.limit) == (None, 1000)
    assert labels(whole) == ["clip, zero-shot", "mmcoa, full"] and cells(whole) == [["cifar10", "dtd"], ["dtd"]]
    assert cells(subsets) == [["cifar10", "dtd"]] * 2


def test_two_test_sets_of_one_name_never_share_a_column(index: Index, add: Add) -> None:
    for dataset in ("cifar10", "tinyimagenet"):
        add("clip", {"multimodal": 1}, dataset=dataset, pixel_size=64)
        add("mmcoa", {"multimodal": 1}, source="imagenet", dataset=dataset, pixel_size=64)
    add("mmcoa", {"multimodal": 1}, source="imagenet", dataset="tinyimagenet", pixel_size=224)
    first, second = found(index)
    assert cells(first) == [["cifar10", "tinyimagenet"]] * 2
    assert cells(second) == [["tinyimagenet"]] and second.first.pixel_size == 224


def test_a_part_of_a_dataset_is_another_test_set(index: Index, add: Add) -> None:
    add("clip", {"multimodal": 1}, dataset="dtd", n=400)
    add("clip", {"multimodal": 1}, dataset="dtd", n=400, part="400 of 1,880 test images")
    assert sorted(grid.first.part for grid in found(index)) == ["", "400 of 1,880 test images"]


def test_seeds_share_a_cell_when_asked(index: Index, add: Add) -> None:
    for seed in (0, 1):
        add("mmcoa", {"multimodal": 1}, source="imagenet", seed=seed)
    assert len(found(index)) == 2
    (grid,) = found(index, seeds=True)
    assert [len(cell) for line in grid.lines for cell in line.cells.values()] == [2]


def test_nothing_is_left_out(index: Index, everything: None, add: Add) -> None:
    add("mmcoa", {"multimodal": 1}, source="cifar10", dataset="dtd")
    add("mmcoa", {"multimodal": 1}, source="cifar100", dataset="dtd")
    every = {row.evaluation for row in rows(index, OOD)}
    for seeds in (False, True):
        assert {row.evaluation for grid in found(index, seeds=seeds) for row in grid.rows} == every
