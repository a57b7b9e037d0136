"""What can be asked for, and the sizes that `quick` has."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import attacks, catalog
from mmcoa_cli.catalog import Cell
from mmcoa_cli.commands import known
from mmcoa_cli.jobs.job import Start
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.plans.request import LADDER, PAPER, Request, Scale, remember, remembered
from mmcoa_cli.settings import Home
from store.errors import UserError


@pytest.mark.parametrize(
    "options",
    [{"names": ("table9",)}, {"preset": "fast"}, {"hours": 0}, {"hours": float("nan")}, {"batch_size": 0}, {"seed": -1},
     {"compat": "paper"}, {"precision": "fp8"}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_asked_for(options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        Request(**{"names": ("table1",), **options})
    assert error.value.hint


def test_runs_have_the_methods_own_settings() -> None:
    order = Request(("table2",), seed=3, compat="release", batch_size=64)
    cell = Cell("tecoa", "imagenet", "5")
    wanted = TrainSpec("tecoa", "imagenet", "5", epochs=10, batch_size=64, seed=3, compat="release")
    assert order.settings(PAPER).run(cell) == order.settings(Scale(epochs=99)).run(cell) == wanted
    assert order.settings(Scale(epochs=3)).run(cell) == replace(wanted, epochs=3)


def test_each_size_is_smaller_than_the_one_before() -> None:
    assert LADDER[0] == PAPER
    for larger, smaller in pairwise(LADDER):
        sizes = [
            (float(s.shots.replace("full", "inf")), s.epochs or 1e9, s.limit or 1e9, s.steps) for s in (larger, smaller)
        ]
        assert sizes[0] != sizes[1] and all(a >= b for a, b in zip(*sizes, strict=True))


def test_shots_that_a_size_allows() -> None:
    rows = catalog.tables()
    assert Scale("full").shots_of(rows["table2"]) == ("1", "5", "50", "full")
    assert Scale("5").shots_of(rows["table2"]) == ("1", "5")
    assert Scale("5").shots_of(rows["table1"]) == ("5",)


def test_a_size_is_remembered_for_the_same_options(tmp_path: Path) -> None:
    home, order = Home(tmp_path, ""), Request(("table1",), preset="quick")
    assert remembered(order, home) is None
    remember(order, LADDER[4], home)
    assert remembered(order, home) == LADDER[4]
    assert remembered(replace(order, start=Start(processes=2)), home) == LADDER[4]
    assert remembered(replace(order, hours=3.0), home) is None
    assert remembered(replace(order, names=("table2",)), home) is None
    (file,) = home.runs.iterdir()
    file.write_text("{", encoding="utf8")
    assert remembered(order, home) is None


def test_a_figure_of_the_same_runs_has_the_same_size(tmp_path: Path) -> None:
    home, order = Home(tmp_path, ""), Request(("table2",), preset="quick")
    remember(order, LADDER[4], home)
    assert (
        remembered(replace(order, names=("fig3",)), home)
        == remembered(replace(order, names=("fig4",)), home)
        == LADDER[4]
    )
    assert remembered(replace(order, names=("table3",)), home) is None  # clean accuracy alone allows a larger one


def test_rows_ask_for_what_exists() -> None:
    for row in map(catalog.tables().__getitem__, known.reproducible()[:-1]):
        assert set(row.methods) <= set(catalog.methods())
        assert row.title and row.task and row.sources
        asked = Request((row.name,)).attacks
        assert set(asked) == set(row.attacks)
        for number, name in enumerate(asked):  # an attack shares the work of those it needs
            assert not set(asked[number + 1 :]) & set(attacks.lookup(name).needs)
