"""Testing a run as it was after one of its epochs: other results, told as such; the run stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import epochs_in, path_of
from mmcoa_cli.models.wrapper_record import checkpoint_digest
from mmcoa_cli.plans.missing import lacking
from mmcoa_cli.reports.report import make_report
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

from .conftest import SMALL_RUN

OPTIONS = {name: value for name, value in SMALL_RUN.items() if name not in ("epochs", "mlm", "eps", "alpha", "steps")}
RUN = train_spec("ft-standard", **OPTIONS, epochs=4, lr=1e-3)


@pytest.fixture
def run(home: Home) -> str:
    """A run of four epochs, of which the last three were kept."""
    return launch.run(Job(RUN, keep=3)).run


def result_of(run: str, epoch: int | None) -> str:
    """The id of the result."""
    spec = evaluation_spec(run, ("digits",), ("clean",), limit=20, epoch=epoch)
    (found,) = launch.run(Job(evaluate=spec)).evaluations
    return found


def test_each_epoch_is_a_result_of_its_own(home: Home, run: str) -> None:
    folder, index = home.checkpoints / run, Index(home.database_url)
    assert epochs_in(folder) == [path_of(folder, number) for number in (2, 3, 4)]
    before = index.run(run)
    ids = {epoch: result_of(run, epoch) for epoch in (2, 3, None)}
    assert len({*ids.values()}) == 3 and result_of(run, 4) == ids[None] and result_of(run, 2) == ids[2]
    for epoch, found in ids.items():
        (result,) = index.evaluation(found)
        assert result.weights == checkpoint_digest(path_of(folder, epoch or 4))
        assert result.setting.get("epoch") == epoch
    assert index.run(run) == before


def test_several_processes_test_the_same_epoch(home: Home, run: str, typed: Callable[..., Any]) -> None:
    words = f"--checkpoint {run} --dataset digits --attack clean --limit 20 --epochs 3 --processes 2"
    code, _, err = typed(home, "evaluate", *words.split()).end()
    assert code == 0, err
    (made,) = {row.evaluation for _, row in Index(home.database_url).results()}
    assert result_of(run, 3) == made


@pytest.mark.parametrize(
    ("epoch", "error", "hint"),
    [
        (
            1,
            "epoch 1 of run .* was not kept",
            "--epochs 2,3,4, or train all of them again: mmcoa train --resume",
        ),
        (5, "has no epoch 5", "it has 4"),
        (0, "--epochs 0 is not positive", "a number above 0"),
    ],
)
def test_epochs_that_are_not_there(run: str, epoch: int, error: str, hint: str) -> None:
    with pytest.raises(UserError, match=error) as raised:
        result_of(run, epoch)
    assert hint in raised.value.hint


def test_a_model_as_it_comes_has_none(home: Home) -> None:
    with pytest.raises(UserError, match="vit was not trained here: it has no epoch 1"):
        result_of("vit", 1)


def test_a_report_tells_the_epoch_and_has_it_as_its_columns(home: Home, run: str) -> None:
    for checkpoint, epoch in ((run, 2), (run, 4), ("vit", None)):
        result_of(checkpoint, epoch)
    report = make_report(catalog.tables()["iid"], home)
    (panel,) = report.panels
    assert [line.label for line in panel.lines] == [
        "clip, zero-shot",
        "ft-standard, 2-shot",
        "ft-standard, 2-shot, epoch 2",
    ]
    table = catalog.tables()["fig7"].narrowed(
        method=["clip", "ft-standard"], source=["digits"], dataset=["digits"], shots=["2"], epoch=[1, 2, 4],
        attack=["clean"],
    )  # fmt: skip
    report = make_report(table, home, missing=lacking)
    assert report.figure and report.figure.xs == [0, 2, 4]
    (one,) = report.figure.series
    assert [(series.name, [*series.points]) for series in one] == [("clip", [0]), ("ft-standard", [2, 4])]
    assert report.missing
    commands = [entry["command"] for entry in report.missing.entries()]
    assert commands == [f"mmcoa evaluate --checkpoint {run} --dataset digits --epochs 1 --attack clean --limit 20"]
