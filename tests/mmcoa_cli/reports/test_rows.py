"""Evaluations to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.models.current_digests import data_key
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.rows import Row, as_dicts
from store.errors import UserError
from store.index import Index

IID = catalog.tables()["iid"]
CONTRACT = [
    "method", "model", "source", "shots", "dataset", "attack", "metric", "compat", "value", "n", "ci95", "seed", "run",
    "evaluation", "paper",
]  # fmt: skip
Add = Callable[..., Any]


def test_a_row_begins_with_the_keys_of_the_contract() -> None:
    assert [field.name for field in fields(Row)][: len(CONTRACT)] == CONTRACT


def test_a_row_holds_what_was_evaluated(index: Index, add: Add) -> None:
    run = add("mmcoa", {"multimodal": 8000}, shots="5", seed=3, collisions=2)
    (row,) = rows(index, IID)
    assert (row.method, row.model, row.source, row.shots) == ("mmcoa", "ViT-B-32", "cifar10", "5")
    assert (row.dataset, row.attack, row.metric, row.compat) == ("cifar10", "multimodal", "robust_accuracy", "none")
    assert (row.value, row.n, row.seed, row.run) == (0.8, 10_000, 3, run.id)
    assert (row.norm, row.eps, row.alpha, row.steps, row.stop_when_fooled) == ("linf", "1/255", "1/255", 100, False)
    assert (row.mlm, row.collisions, row.prompts, row.max_words_changed) == ("bert-base-uncased", 2, 10, 1)
    assert row.ci95 == pytest.approx((0.79204, 0.80773), abs=1e-4)
    assert (row.pixel_size, row.data) == (32, data_key("0123456789abcdef", []))


def test_a_row_says_when_where_and_by_what_it_was_measured(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 8000}, torch="2.14.0")
    (told,) = as_dicts(rows(index, IID))
    names = ("created_at", "seconds", "device", "version", "torch")
    assert [told[name] for name in names] == ["2026-01-01T02:00:00+00:00", 1.0, "cpu", "", "2.14.0"]


def test_what_an_attack_does_not_have_is_none(index: Index, add: Add) -> None:
    add("clip", {"clean": 9000, "image": 1000, "text": 8000})
    clean, image, text = (next(row for row in rows(index, IID) if row.attack == a) for a in ("clean", "image", "text"))
    assert clean.metric == "clean_accuracy" and clean.attack_success_rate is None
    assert clean.norm is clean.mlm is clean.stop_when_fooled is clean.no_collisions is clean.collisions is None
    assert image.norm == "linf" and image.mlm is image.collisions is None
    assert text.norm is text.steps is None and text.mlm == "bert-base-uncased"


def test_iid_is_zero_shot_or_trained_on_the_same(index: Index, add: Add) -> None:
    add("clip", {"clean": 1}, dataset="cifar100")
    add("mmcoa", {"clean": 2}, source="cifar10", dataset="cifar100")
    add("mmcoa", {"clean": 3}, source="cifar100", dataset="cifar100")
    assert [(row.method, row.source) for row in rows(index, IID)] == [("clip", ""), ("mmcoa", "cifar100")]


def test_rows_come_in_the_order_of_the_table(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 1, "image": 1})
    add("mmcoa", {"clean": 1}, shots="50")
    add("mmcoa", {"clean": 1}, shots="5")
    add("clip", {"clean": 1})
    found = [(row.method, row.shots, row.attack) for row in rows(index, IID)]
    assert found == [
        ("clip", "0", "clean"),
        ("mmcoa", "5", "clean"),
        ("mmcoa", "50", "clean"),
        ("mmcoa", "full", "image"),
        ("mmcoa", "full", "clean"),
    ]


def test_parts_of_the_data_are_told(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 1}, part="1,000 of 10,000 test images", train_part="10,000 of 50,000 training images")
    add("mmcoa", {"clean": 1}, dataset="cifar100")
    one, other = rows(index, IID)
    assert (one.part, one.train_part) == ("1,000 of 10,000 test images", "10,000 of 50,000 training images")
    assert (other.part, other.train_part) == ("", "")


def test_training_settings_that_are_not_the_papers_are_told(index: Index, add: Add) -> None:
    training = {"epochs": 3, "lr": 5e-4, "eps": "16/255"}
    for method, more in (("ft-standard", {}), ("tecoa", {}), ("mmcoa", {"contrast": "class"})):
        add(method, {"clean": 1}, training=training | more)
    assert [row.training for row in rows(index, IID)] == [
        "epochs 3, lr 0.0005",  # it has no attack in training, and no pairs
        "epochs 3, lr 0.0005, eps 16/255",
        "epochs 3, lr 0.0005, eps 16/255, contrast class",
    ]


def test_the_papers_settings_are_not_told(index: Index, add: Add) -> None:
    add("mmcoa", {"clean": 1}, shots="5", seed=7)
    add("clip", {"clean": 1})
    assert [row.training for row in rows(index, IID)] == ["", ""]


def test_without_the_papers_numbers(index: Index, add: Add) -> None:
    add("mmcoa", {"image": 8455}, shots="5")
    (with_paper,), (without,) = rows(index, IID), rows(index, IID, paper=False)
    assert with_paper.paper_full == pytest.approx(0.8455)
    assert without.paper is without.paper_full is None and without.paper_note == ""


def test_an_empty_index_says_what_to_type(index: Index) -> None:
    with pytest.raises(UserError, match="the index holds no result for task iid yet") as caught:
        rows(index, IID)
    assert "mmcoa train" in caught.value.hint and "mmcoa demo" in caught.value.hint


@pytest.mark.parametrize(
    ("task", "attacks", "hint"),
    [
        ("table5", (), "mmcoa reproduce table5 --dry-run  # lists what it needs"),
        ("retrieval", (), "mmcoa evaluate --checkpoint RUN --dataset NAME --task retrieval"),
        ("iid", ("sga", "clean"), "mmcoa evaluate --checkpoint RUN --dataset NAME --attack sga,clean"),
        ("compare", (), "mmcoa train"),
    ],
)
def test_it_says_what_fills_that_report(index: Index, task: str, attacks: tuple[str, ...], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        rows(index, catalog.tables()[task], attacks=attacks)
    assert caught.value.hint.startswith(hint)


def test_a_row_that_is_made_at_once_has_all_fields(index: Index, add: Add) -> None:
    add("mmcoa", {"multimodal": 10}, n=100)
    (row,) = rows(index, catalog.tables()["iid"])
    assert set(vars(row)) == {found.name for found in fields(Row)} and row == replace(row)
