"""Tables as rows of data: the results that a grid stands for."""

from __future__ import annotations

from collections import Counter

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import Cell, TableRow

GRID = {"method": ["clip", "tecoa"], "source": ["imagenet"], "dataset": ["dtd", "stl10"], "attack": ["clean", "image"]}


def table(**changes: object) -> TableRow:
    return TableRow("mine", grid={**GRID, **changes})


def test_rows_name_what_exists() -> None:
    assert {"iid", "ood", "table1", "table2", "table3", "fig3", "fig4"} <= set(catalog.tables())
    for row in catalog.tables().values():
        assert set(row.methods) <= set(catalog.methods()) and set(row.shown) <= set(row.attacks)
        assert set(row.paper.values()) <= {entry.table for entry in catalog.paper()}
        assert row.numbers in {entry.task for entry in catalog.paper()} or not row.paper
        assert len(set(row.cells())) == len(row.cells()) and (len(row.cells()) > 0) == (row.name != "compare")
    assert len(catalog.tables()["ood"].datasets) == 15


def test_names_of_today_keep_their_task() -> None:
    tasks = {name: row.task for name, row in catalog.tables().items()}
    of_today = {
        "iid": "iid", "table1": "iid", "ood": "ood", "table2": "ood", "table3": "ood", "fig3": "fig3", "fig4": "fig4",
    }  # fmt: skip
    assert of_today.items() <= tasks.items()
    assert catalog.tables()["fig4"].numbers == "ood"  # through two rows that it is like
    assert catalog.tables()["fig4"].columns == "dataset"


def test_a_model_that_nothing_is_trained_on_stands_in_a_grid_once() -> None:
    found = table(source=["imagenet", "cifar10"], shots=["1", "full"]).cells()
    assert Counter(cell.method for cell in found) == {"clip": 4, "tecoa": 16}
    assert Cell("clip", dataset="dtd", attack="image") in found
    assert Cell("tecoa", "cifar10", "full", dataset="dtd", attack="clean") in found


def test_tested_on_its_source() -> None:
    row = table(source=["cifar10", "dtd"], dataset="source")
    assert row.on_source and row.datasets == ("cifar10", "dtd")
    assert {(cell.source, cell.dataset) for cell in row.cells()} == {
        ("", "cifar10"), ("", "dtd"), ("cifar10", "cifar10"), ("dtd", "dtd"),
    }  # fmt: skip


def test_an_option_is_an_axis_of_the_attacks_that_have_it() -> None:
    row = table(method=["clip"], dataset=["dtd"], eps=["1/255", "2/255"])
    assert row.options == {"eps": ("1/255", "2/255")}
    assert [(cell.attack, cell.options) for cell in row.cells({"clean": (), "image": ("eps", "steps")})] == [
        ("clean", ()), ("image", (("eps", "1/255"),)), ("image", (("eps", "2/255"),)),
    ]  # fmt: skip
    assert len(row.cells()) == 4


def test_a_list_by_its_name_and_a_single_value() -> None:
    assert len(table(dataset="ood15").datasets) == 15
    assert table(dataset="dtd", steps=5).datasets == ("dtd",) and table(steps=5).options == {"steps": (5,)}
    assert table().narrowed(dataset=["dtd"], eps=["1/255"]).options == {"eps": ("1/255",)}


@pytest.mark.parametrize("wrong", [{"grid": {}}, {"cell": "median"}, {"picture": "pie"}])
def test_a_row_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="mine: "):
        TableRow("mine", **{"grid": GRID, **wrong})  # type: ignore[arg-type]


def test_options_of_training_and_epochs_are_axes_of_what_is_trained() -> None:
    row = table(attack=["clean"], training=[{"image_weight": 1.0}, {}], epoch=[1, 2])
    of_run = Counter((cell.method, cell.training, cell.epoch) for cell in row.cells())
    tecoa = [("tecoa", training, epoch) for training in ((("image_weight", 1.0),), ()) for epoch in (1, 2)]
    assert of_run == {("clip", (), None): 2, **dict.fromkeys(tecoa, 2)}


def test_a_row_like_another_has_its_other_axes() -> None:
    rows = catalog.tables()
    assert rows["fig10"].attacks == ("clean",) and rows["fig10"].axis("epoch") == rows["fig7"].axis("epoch")
    every = {"table1", "table4", "fig13"}
    assert every <= set(catalog.lists()["all"]) <= set(rows)
