"""A table over an option of an attack, and an attack that no table knows: a row of data, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.attacks import ATTACKS, Attack, register
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.catalog import TableRow
from mmcoa_cli.reports.content import Report, report_of
from mmcoa_cli.reports.drawing import draw
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import FORMATS, render
from store.errors import UserError
from store.index import Index

Add = Callable[..., Any]
GRID = {
    "method": ["clip", "mmcoa"], "source": ["imagenet"], "dataset": "ood15", "attack": ["image"],
    "eps": ["1/255", "2/255", "4/255"],
}  # fmt: skip
STRENGTH = TableRow(
    "strength", "Attack strength", grid=GRID, lines=("method",), columns="eps", cell="mean over dataset"
)
SINGLE = replace(STRENGTH, cell="value")
TWO = ("cifar10", "cifar100")


def report(index: Index, table: TableRow = STRENGTH, **options: Any) -> Report:
    return report_of(rows(index, table), table, **options)


def add_all(add: Add, **options: Any) -> None:
    """Two methods on two datasets under three strengths, which leave 1/1, 1/2 and 1/4 of 50% and of 20%."""
    for dataset in TWO:
        for part in (1, 2, 4):
            for method, correct in (("clip", 2000), ("mmcoa", 5000)):
                add(
                    method, {"image": correct // part}, source="imagenet", dataset=dataset, eps=f"{part}/255", **options
                )


def test_an_option_is_the_columns_and_cells_are_means_over_datasets(index: Index, add: Add) -> None:
    add_all(add)
    text = render(report(index))
    assert re.search(r"\n +eps 1/255 +eps 2/255 +eps 4/255\n", text)
    assert re.search(r"\nclip +20.00 +10.00 +5.00\n", text) and re.search(r"\nmmcoa +50.00 +25.00 +12.50\n", text)
    assert "averages of 2 datasets (cifar10, cifar100), seed 0" in text
    assert "image attack: L-inf, eps 1/255 | 2/255 | 4/255, alpha 1/255, 100 steps\n" in text
    assert {row.dataset for row in report(index).rows} == {*TWO, "average"}


def test_a_value_that_the_table_does_not_have_stands_behind_those_it_has(index: Index, add: Add) -> None:
    add_all(add)
    add("clip", {"image": 100}, dataset="cifar10", eps="0.5/255")
    panel = report(index, SINGLE).panels[0]
    assert (panel.columns, panel.others) == (["1/255", "2/255", "4/255"], ["0.5/255"])


def test_cells_on_fewer_datasets_are_left_out_and_counted(index: Index, add: Add) -> None:
    add_all(add)
    add("mmcoa", {"image": 100}, source="imagenet", dataset="cifar10", eps="8/255")
    found = report(index)
    assert "1 result on fewer datasets left out" in render(found) and "8/255" not in render(found)
    assert "8/255" in {row.eps for row in found.rows}  # CSV and JSON have it


def test_what_differs_in_another_option_has_a_panel_of_its_own(index: Index, add: Add) -> None:
    add_all(add)
    add_all(add, steps=10)
    assert [{row.steps for row in panel.rows} for panel in report(index).panels] == [{10}, {100}]


def test_an_option_that_follows_from_the_columns_does_not_part_them(index: Index, add: Add) -> None:
    """In L2 the step size, where none is given, is 2.5 eps / steps; a step size of one's own parts the results."""
    for eps, alpha in (("1", "0.025"), ("2", "0.05"), ("4", "0.1")):
        add("clip", {"image": 100}, norm="l2", eps=eps, alpha=alpha)
    (panel,) = report(index, SINGLE).panels
    assert panel.others == ["1", "2", "4"]
    add("clip", {"image": 100}, norm="l2", eps="2", alpha="0.025")
    assert len(report(index, SINGLE).panels) == 2


def test_other_attacks_than_the_grids_are_asked_for(index: Index, add: Add) -> None:
    add_all(add)
    add("clip", {"clean": 9000}, dataset="cifar10")
    assert {row.attack for row in rows(index, STRENGTH)} == {"image"}
    assert {row.attack for row in rows(index, STRENGTH, attacks=("clean",))} == {"clean"}


def test_it_is_drawn_where_the_row_says_so(index: Index, add: Add, tmp_path: Path) -> None:
    add_all(add)
    drawn = report(index, replace(STRENGTH, picture="lines"))
    assert drawn.figure is not None and drawn.figure.xs == ["1/255", "2/255", "4/255"]
    assert [[point.value for point in series.points.values()] for series in drawn.figure.series[0]] == [
        [0.2, 0.1, 0.05], [0.5, 0.25, 0.125],
    ]  # fmt: skip
    draw(drawn, tmp_path / "strength.png")
    assert (tmp_path / "strength.png").stat().st_size > 1000


def test_without_any_of_its_datasets_there_is_no_mean(index: Index, add: Add) -> None:
    add("clip", {"image": 100}, dataset="birds")
    with pytest.raises(UserError, match="strength is an average over the paper's datasets"):
        report(index)


@dataclass(frozen=True)
class PushSettings(PgdSettings):
    force: float = 3.0

    def in_words(self) -> str:
        return f"{super().in_words()}, force {self.force}"


@pytest.fixture
def pushed(index: Index, add: Add) -> Iterator[None]:
    """Results of an attack that only a plug-in knows."""
    register(Attack("push", settings=PushSettings, images=lambda batch: batch.images))
    add("clip", {"image": 5000, "clean": 9000})
    (_, found) = next((run, one) for run, one in index.results() if one.metric != "attack_success_rate")
    threat = {"push": {"version": 2, "norm": "linf", "eps": "1/255", "alpha": "1/255", "steps": 7, "force": 4.5}}
    changes = {"evaluation": "p" * 40, "attack": "push", "metric": "robust_accuracy", "threat": threat}
    index.save_results([replace(found, **changes)])
    yield
    del ATTACKS["push"]


def test_an_attack_that_no_table_knows_has_a_column(index: Index, pushed: None) -> None:
    text = render(report(index, catalog.tables()["iid"]), width=140)
    assert re.search(r"\n +image +clean +push\n", text)
    assert "push attack: L-inf, eps 1/255, alpha 1/255, 7 steps, force 4.5, on 32 x 32 pixels\n" in text
    for format in FORMATS:
        assert "push" in render(report(index, catalog.tables()["iid"]), format=format)


def test_options_that_rows_have_no_field_for_are_further_columns(index: Index, pushed: None) -> None:
    found = report(index, catalog.tables()["iid"])
    by_attack = {row["attack"]: row for row in json.loads(render(found, format="json"))["rows"]}
    assert list(by_attack["push"])[-2:] == list(by_attack["image"])[-2:] == ["force", "push_version"]
    assert (by_attack["push"]["force"], by_attack["push"]["steps"], by_attack["push"]["push_version"]) == (4.5, 7, 2)
    assert by_attack["image"]["force"] is by_attack["clean"]["push_version"] is None
    table = list(csv.DictReader(io.StringIO(render(found, format="csv"))))
    assert {row["force"] for row in table} == {"", "4.5"}


def test_the_paper_has_no_number_for_an_attack_it_did_not_run(index: Index, pushed: None) -> None:
    found = {row.attack: row.paper for row in rows(index, catalog.tables()["iid"])}
    assert found["push"] is None and found["image"] is not None
