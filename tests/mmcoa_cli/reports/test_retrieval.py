"""Results of retrieval: a table of their own, whose columns are metrics, with the paper's Table VI beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import report_of
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.tasks.base import share
from store.errors import UserError
from store.index import Index

Add = Callable[..., Any]
TABLE = catalog.tables()["table6"]
THREAT: dict[str, dict[str, Any]] = {
    "text": {"version": 2, "mlm": "d", "mlm_name": "bert-base-uncased", "mlm_origin": "published", "compat": "release"},
    "co-attack": {
        "version": 1, "seed": 0, "norm": "linf", "eps": "2/255", "alpha": "0.25/255", "steps": 10, "text_weight": 3.0,
    },
}  # fmt: skip


def add_retrieval(index: Index, add: Add, *, dataset: str = "mscoco", **changes: Any) -> None:
    """Recalls of zero-shot CLIP under Co-Attack, beside a classification by the same model."""
    add("clip", {"clean": 8000}, compat="release")
    ((run, like),) = [(run, result) for run, result in index.results() if result.metric == "clean_accuracy"]
    threat = {**THREAT, "co-attack": {**THREAT["co-attack"], **changes}}
    common = {"evaluation": "r" * 40, "dataset": dataset, "task": "retrieval", "attack": "co-attack", "threat": threat}
    found = []
    for name in TABLE.axis("metric"):
        one = share(name, 100, 5_000 if name.startswith("TR") else 25_000)
        numbers = {"metric": name, "value": one.value, "low": one.low, "high": one.high, "n": one.n}
        found.append(replace(like, run_id=run.id, **common, **numbers))
    cut = replace(found[0], metric="captions_cut", value=0.0, n=25_000, low=None, high=None)
    index.save_results([*found, cut])


def test_the_papers_numbers_stand_beside_them(index: Index, add: Add) -> None:
    add_retrieval(index, add)
    found = {row.metric: row for row in rows(index, TABLE)}
    assert list(found) and set(found) == set(TABLE.axis("metric"))
    papers = {name: row.paper for name, row in found.items()}
    assert papers == {
        "TR@1": 0.0394, "TR@5": 0.1034, "TR@10": 0.1542, "IR@1": 0.0173, "IR@5": 0.0523, "IR@10": 0.0799
    }  # fmt: skip
    assert {row.paper_note for row in found.values()} == {""}


@pytest.mark.parametrize(
    "change", [{"eps": "1/255"}, {"steps": 100}, {"text_weight": 1.0}, {"dataset": "mine"}], ids=str
)
def test_no_number_for_what_the_paper_did_not_measure(index: Index, add: Add, change: dict[str, Any]) -> None:
    """Table VI has one radius and number of steps; others are results of the task all the same."""
    add_retrieval(index, add, **change)
    assert {row.paper for row in rows(index, catalog.tables()["retrieval"])} == {None}


def test_metrics_are_columns_in_the_order_of_the_table(index: Index, add: Add) -> None:
    add_retrieval(index, add)
    panels = report_of(rows(index, TABLE), TABLE).panels
    assert [panel.columns for panel in panels] == [["TR@1", "TR@5", "TR@10"], ["IR@1", "IR@5", "IR@10"]]
    told = [sheet.circumstances[0] for sheet in report_of(rows(index, TABLE), TABLE).sheets()]
    assert told[0].startswith("5,000 test images") and told[1].startswith("25,000 test captions")


def test_tasks_do_not_mix(index: Index, add: Add) -> None:
    add_retrieval(index, add)
    assert {row.metric for row in rows(index, catalog.tables()["iid"])} == {"clean_accuracy"}


def test_a_table_without_results_of_its_task(index: Index, add: Add) -> None:
    add("clip", {"clean": 8000})
    with pytest.raises(UserError, match="no result for task table6"):
        rows(index, TABLE)


def test_every_column_has_a_number_in_the_paper() -> None:
    """The catalog's Table VI, for each method of the table."""
    there = {(one.method, one.metric) for one in catalog.paper() if one.table == "VI"}
    assert there == {(method, metric) for method in TABLE.methods for metric in TABLE.axis("metric")}


def test_the_success_rate_stands_below_each_recall(index: Index, add: Add) -> None:
    """With its own interval, from its own n; a recall that has none shows none."""
    add_retrieval(index, add)
    one = share("attack_success_rate_TR@1", 30, 40)
    there = [result for _, result in index.results(tasks=["retrieval"])]
    index.save_results(
        [*there, replace(there[0], metric=one.name, value=one.value, low=one.low, high=one.high, n=one.n)]
    )
    found = rows(index, TABLE)
    assert {row.metric: row.attack_success_rate for row in found if row.attack_success_rate} == {"TR@1": 0.75}
    tr, ir = report_of(found, TABLE).sheets()
    lines = [(line.label, line.cells) for line in tr.lines]
    place = [label for label, _ in lines].index("attack success")
    assert lines[place][1] == ["75.00", "–", "–"] and lines[place + 1] == ("95% interval", ["59.81–85.81", "–", "–"])
    assert "attack success" not in [line.label for line in ir.lines]
    assert any(note.startswith("attack success: ") for note in tr.notes)
