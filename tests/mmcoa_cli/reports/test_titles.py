"""A title says what is shown: no more datasets than there are, and nothing of training over models as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.titles import closing
from store.index import Index

Add = Callable[..., Any]
HITS = {"clean": 50, "image": 10, "text": 20, "multimodal": 5, "co-attack": 4}
OF_TRAINING = [
    name
    for name, table in catalog.tables().items()
    if table.tested_in == "classification" and table.sources and "clip" in table.methods
]


def title(index: Index, task: str, *attacks: str) -> str:
    table = catalog.tables()[task]
    return report_of(rows(index, table, attacks=attacks), table).title


@pytest.mark.parametrize("task", OF_TRAINING)
def test_models_as_they_come_were_not_trained(index: Index, add: Add, task: str) -> None:
    add("clip", HITS, n=100)
    said = title(index, task)
    assert "zero-shot" in said or "evaluated on cifar10" in said
    assert "trained and" not in said and "trained on" not in said


def test_a_table_of_models_tested_on_what_they_were_trained_on(index: Index, add: Add) -> None:
    add("mmcoa", HITS, n=100)
    assert title(index, "iid") == "Table I: trained and tested on cifar10"
    add("clip", HITS, n=100)
    assert title(index, "iid") == "Table I: zero-shot, or trained and tested on cifar10"
    add("tecoa", HITS, n=100, dataset="cifar100")
    assert title(index, "table1") == "Table I: zero-shot, or trained and tested on the same dataset"
    assert title(index, "table5") == "Table V: co-attack, zero-shot, or trained and tested on the same dataset"


def test_no_more_datasets_than_there_are(index: Index, add: Add) -> None:
    for dataset in ("cifar10", "stl10", "dtd"):
        add("mmcoa", HITS, n=100, source="imagenet", dataset=dataset)
    assert title(index, "table2") == "Table II: trained on imagenet, multimodal attack on cifar10, stl10 and dtd"
    assert title(index, "table2", "clean") == "Table II: trained on imagenet, clean accuracy on cifar10, stl10 and dtd"
    assert title(index, "fig3").startswith("Figure 3: averages over cifar10, stl10 and dtd by")
    add("mmcoa", HITS, n=100, source="imagenet", dataset="food101")
    assert title(index, "fig3").startswith("Figure 3: averages over 4 datasets by")
    assert title(index, "fig4") == "Figure 4: each of 4 datasets"


def test_results_that_a_command_ends_with_are_no_table_of_the_paper(index: Index, add: Add) -> None:
    add("clip", HITS, n=100)
    table = closing(catalog.tables()["iid"])
    assert report_of(rows(index, catalog.tables()["iid"]), table).title == "Evaluated on cifar10"
    add("mmcoa", HITS, n=100, source="imagenet")
    every = rows(index, catalog.tables()["ood"], attacks=("clean",))
    assert report_of(every, table).title == "Evaluated on cifar10"
    trained = [row for row in every if row.source]
    assert (
        report_of(trained, catalog.tables()["ood"]).title == "Tables II and III: trained on imagenet, tested on cifar10"
    )


def test_a_name_with_braces_is_a_name(index: Index, add: Add) -> None:
    add("clip", HITS, n=100, dataset="{same}")
    assert title(index, "iid") == "Table I: evaluated on {same}"
