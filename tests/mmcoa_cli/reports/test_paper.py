"""Which results have a number of the paper beside them, and with which marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports import paper
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.rows import Row
from store.index import Index

IID = catalog.tables()["iid"]
Add = Callable[..., Any]


def one(index: Index) -> Row:
    (row,) = rows(index, IID)
    return row


@pytest.mark.parametrize(
    ("attack", "expected"),
    [("image", 0.8455), ("text", 0.9616), ("multimodal", 0.8452), ("clean", 0.9617), ("co-attack", 0.8796)],
)
def test_the_papers_number_for_the_papers_measurement(index: Index, add: Add, attack: str, expected: float) -> None:
    add("mmcoa", {attack: 9000}, compat="release")
    (row,) = rows(index, IID, attacks=(attack,))
    assert row.paper == pytest.approx(expected)
    assert row.paper_full is None
    assert paper.marks(row) == row.paper_note == ""


def test_no_number_for_a_co_attack_of_another_weight(index: Index, add: Add) -> None:
    add("mmcoa", {"co-attack": 9000}, compat="release", text_weight=1.0)
    (row,) = rows(index, IID, attacks=("co-attack",))
    assert row.paper is None and row.threat.options["text_weight"] == 1.0


def test_zero_shot_has_its_number(index: Index, add: Add) -> None:
    add("clip", {"image": 900}, dataset="cifar100")
    assert one(index).paper == pytest.approx(0.0459)


@pytest.mark.parametrize(
    "change",
    [
        {"eps": "2/255"},
        {"alpha": "0.5/255"},
        {"steps": 10},
        {"norm": "l2"},
        {"stop_when_fooled": True},
        {"no_collisions": True},
        {"partial": True},
        {"n": 9_999},
    ],
    ids=str,
)
def test_no_number_for_another_attack_or_other_data(index: Index, add: Add, change: dict[str, Any]) -> None:
    add("mmcoa", {"multimodal": 9000}, **change)
    row = one(index)
    assert row.paper is row.paper_full is None and row.paper_note == ""


def test_no_number_for_a_part_of_the_data(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 9000}, part="9 of 10 classes")
    add("mmcoa", {"clean": 900}, part="9 of 10 classes", n=1000, limit=1000)
    assert [(row.paper, row.paper_full) for row in rows(index, IID)] == [(None, None)] * 2


def test_training_on_a_part_is_marked(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 9000}, train_part="9 of 10 classes")
    assert one(index).paper is not None and paper.marks(one(index)) == "¶"
    assert "a part of the paper's training images" in one(index).paper_note


def test_a_number_for_a_subset_of_the_catalogs_images(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 900}, n=1000, limit=1000)
    assert one(index).paper == pytest.approx(0.8455)


def test_no_number_for_data_outside_the_catalog(index: Index, add: Add) -> None:
    add("clip", {"clean": 50}, dataset="birds", n=10_000)
    assert one(index).paper is None


def test_few_shots_have_the_number_of_full_training_apart(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 7000}, shots="5")
    row = one(index)
    assert row.paper is None and row.paper_full == pytest.approx(0.8455)


def test_every_difference_has_its_mark(index: Index, add: Add) -> None:
    add("mmcoa", {"text": 9}, n=1000, limit=1000, model="x", origin="own", mlm="tiny-mlm", training={"epochs": 3})
    row = one(index)
    assert row.paper is not None and paper.marks(row) == "†‡§"
    assert "CLIP ViT-B/32" in row.paper_note and "aligned" in row.paper_note and "settings" in row.paper_note


def test_a_stand_in_masked_lm_is_marked_in_text_attacks_only(index: Index, add: Add) -> None:
    add("clip", {"image": 900, "text": 900}, mlm="tiny-mlm", compat="release")
    image, text = rows(index, IID)
    assert (paper.marks(image), paper.marks(text)) == ("", "†")


def test_an_aligned_text_attack_is_marked(index: Index, add: Add) -> None:
    add("clip", {"image": 900, "text": 900, "multimodal": 900, "clean": 900})
    assert {row.attack: paper.marks(row) for row in rows(index, IID)} == {
        "image": "", "text": "‡", "multimodal": "‡", "clean": "",
    }  # fmt: skip


def test_a_stand_in_that_took_the_models_name_is_marked(index: Index, add: Add) -> None:
    add("clip", {"image": 900}, origin="stand-in")
    assert paper.marks(one(index)) == "†"
