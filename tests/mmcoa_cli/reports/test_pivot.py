"""What stands in one table together, and how its lines are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmcoa_cli import catalog
from mmcoa_cli.models.current_digests import data_key
from mmcoa_cli.reports.layout import natural
from mmcoa_cli.reports.pivot import Panel, panels
from mmcoa_cli.reports.reading import rows
from store.index import Index

IID = catalog.tables()["iid"]
DATA = ("0123456789abcdef", "fedcba98765")  # checksums
ALL = {"image": 5000, "text": 8000, "multimodal": 4500, "clean": 9000}
Add = Callable[..., Any]


def found(index: Index, *, seeds: bool = False) -> list[Panel]:
    return panels(rows(index, IID), table=IID, seeds=seeds)


def labels(section: Panel) -> list[str]:
    return [line.label for line in section.lines]


def attacks(section: Panel) -> list[set[str]]:
    return [set(line.cells) for line in section.lines]


def test_methods_measured_alike_share_a_section(index: Index, add: Add) -> None:
    add("mmcoa", ALL)
    add("mmcoa", ALL, shots="5")
    add("clip", ALL)
    (section,) = found(index)
    assert labels(section) == ["clip, zero-shot", "mmcoa, 5-shot", "mmcoa, full"]
    assert attacks(section) == [set(ALL)] * 3
    assert {part for row in section.rows for part in row.threat.parts} == {"image", "text"}


def test_what_was_measured_otherwise_has_its_own_section(index: Index, add: Add) -> None:
    changes: list[dict[str, Any]] = [
        {"dataset": "cifar100"},
        {"model": "tiny-clip"},
        {"n": 1000, "limit": 1000},
        {"seed": 1},
        {"compat": "release"},
        {"precision": "bf16"},
        {"partial": True},
        {"eps": "2/255"},
        {"steps": 10},
        {"mlm": "tiny-mlm"},
        {"no_collisions": True},
    ]
    for change in ({}, *changes):
        add("clip", {attack: count // 10 for attack, count in ALL.items()}, **change)
    assert len(found(index)) == len(changes) + 1
    assert sum(len(section.rows) for section in found(index)) >= len(rows(index, IID))


def test_clean_results_stand_beside_every_attack(index: Index, add: Add) -> None:
    add("clip", ALL)
    add("clip", {"image": 3000, "multimodal": 2000}, eps="2/255")
    first, second = found(index)
    assert attacks(first) == attacks(second) == [set(ALL)]
    assert {frozenset(row.eps for row in panel.rows) for panel in (first, second)} == {
        frozenset(["1/255", None]), frozenset(["2/255", None])
    }  # fmt: skip


def test_an_image_attack_of_its_own_has_no_text_columns(index: Index, add: Add) -> None:
    add("clip", ALL)
    add("clip", {"image": 3000}, steps=10)
    add("mmcoa", {"clean": 9000})
    first, second = found(index)
    assert attacks(first) == [set(ALL), {"clean"}]
    assert attacks(second) == [{"image", "clean"}] and not any(row.mlm for row in second.rows)


def test_image_and_text_without_a_multimodal_result_stand_together(index: Index, add: Add) -> None:
    add("clip", {"image": 3000, "text": 4000})
    (section,) = found(index)
    assert attacks(section) == [{"image", "text"}]


def test_only_clean_results(index: Index, add: Add) -> None:
    add("clip", {"clean": 9000})
    (section,) = found(index)
    assert attacks(section) == [{"clean"}] and not any(row.threat.parts for row in section.rows)


def test_runs_of_one_label_are_told_apart_by_what_differs(index: Index, add: Add) -> None:
    add("mmcoa", ALL, shots="5", training={"lr": 1e-4})
    add("mmcoa", ALL, shots="5")
    add("tecoa", ALL, run_seed=1)
    add("tecoa", ALL, run_seed=0)
    add("ft-standard", ALL, training={"mlm": "other"})
    add("ft-standard", ALL)
    (section,) = found(index)
    assert labels(section)[2:] == [
        "tecoa, full, training seed 0",
        "tecoa, full, training seed 1",
        "mmcoa, 5-shot, training seed 0, the paper's settings",
        "mmcoa, 5-shot, training seed 0, lr 0.0001",
    ]
    assert all(label.startswith("ft-standard, full, training seed 0, run ") for label in labels(section)[:2])
    assert len(set(labels(section))) == 6


def test_training_as_the_release_and_elsewhere_is_in_the_label(index: Index, add: Add) -> None:
    add("mmcoa", ALL, training={"compat": "release"})
    add("mmcoa", ALL)
    (section,) = found(index)
    assert labels(section) == ["mmcoa, full", "mmcoa, full, release"]


def test_the_same_measured_on_changed_weights_is_shown_twice(index: Index, add: Add) -> None:
    add("clip", ALL)
    add("clip", {"image": 1234}, examples="f" * 40)
    (section,) = found(index)
    assert attacks(section) == [set(ALL), {"image"}]
    assert all(label.startswith("clip, zero-shot, evaluation ") for label in labels(section))


def test_data_of_one_name_that_is_not_the_same_is_told_apart(index: Index, add: Add) -> None:
    add("clip", {"clean": 9000})
    add("clip", {"clean": 8000}, data=data_key("fedcba98765", []))
    assert sorted(section.data for section in found(index)) == sorted(data_key(of, []) for of in DATA)
    add("clip", {"clean": 8000}, dataset="cifar100")
    assert found(index)[-1].data == ""


def test_parts_never_share_a_table_and_training_on_a_part_no_line(index: Index, add: Add) -> None:
    add("clip", ALL)
    add("clip", ALL, part="9 of 10 classes")
    assert [section.rows[0].part for section in found(index)] == ["", "9 of 10 classes"]
    add("mmcoa", ALL)
    add("mmcoa", ALL, run_seed=1, train_part="5 of 10 classes")
    (section, _) = found(index, seeds=True)
    assert labels(section)[1:] == ["mmcoa, full, on all images", "mmcoa, full, on 5 of 10 classes"]


def test_seeds_share_a_cell_when_asked(index: Index, add: Add) -> None:
    for seed in (0, 1, 2):
        add("mmcoa", {"image": 5000 + 100 * seed}, seed=seed)
    add("clip", {"image": 1000})
    assert len(found(index)) == 3
    (section,) = found(index, seeds=True)
    assert labels(section) == ["clip, zero-shot", "mmcoa, full"]
    assert [len(line.cells["image"]) for line in section.lines] == [1, 3]


def test_seeds_never_mix_other_settings(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 5000}, seed=0)
    add("mmcoa", {"image": 5000}, seed=1, training={"epochs": 3})
    add("mmcoa", {"image": 5000}, seed=1, shots="5")
    (section,) = found(index, seeds=True)
    assert labels(section) == ["mmcoa, 5-shot", "mmcoa, full, the paper's settings", "mmcoa, full, epochs 3"]


def test_nothing_is_left_out(index: Index, everything: None) -> None:
    every = {row.evaluation for row in rows(index, IID)}
    for seeds in (False, True):
        assert {row.evaluation for section in found(index, seeds=seeds) for row in section.rows} == every


def test_panels_of_several_radii_come_by_radius(index: Index, add: Add) -> None:
    for eps in ("8/255", "1/255", "16/255", "2/255"):  # in the same second
        add("tecoa", {"image": 10}, eps=eps)
    found = panels(rows(index, catalog.tables()["iid"]), table=catalog.tables()["iid"])
    assert [panel.first.eps for panel in found] == ["1/255", "2/255", "8/255", "16/255"]


def test_numbers_come_by_their_size_and_no_name_is_a_number_without_end() -> None:
    ordered = ["1/255", "2/255", "10/255", "0.5", "1e3", "1e99999999", "ViT-B-32", "³"]
    assert sorted(reversed(ordered), key=natural) == ordered
