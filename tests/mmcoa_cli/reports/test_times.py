"""Table VIII: the time of an epoch beside the paper's, each on its hardware."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from indexes import EPOCH

from mmcoa_cli import catalog
from mmcoa_cli.reports.report import make_report, render
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

Add = Callable[..., Any]
TABLE = catalog.tables()["table8"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}")


@pytest.fixture
def timed(index: Index, add: Add) -> str:
    """A run of three epochs of 500 images in 60, 120 and 60 seconds; another one without times; a model as it comes."""
    add("clip", {"clean": 5000})
    add("tecoa", {"clean": 6000}, source="cifar10")
    run = add("mmcoa", {"clean": 7000}, source="cifar10")
    for number, seconds in enumerate((60.0, 120.0, 60.0), 1):
        memory = 2**30 * number
        index.save_epoch(replace(EPOCH, run_id=run.id, epoch=number, seconds=seconds, peak_memory=memory))
    return str(run.id)


def shown(home: Home, format: str) -> str:
    return render(make_report(TABLE, home), format=format)


def test_the_median_and_what_it_was_measured_on(home: Home, timed: str) -> None:
    (row,) = json.loads(shown(home, "json"))["rows"]
    assert (row["run"], row["epochs"], row["images"], row["minutes"]) == (timed, 3, 500, 1.0)
    assert row["images_per_second"] == 500 / 60 and row["peak_memory"] == 3 * 2**30
    assert row["device"] == EPOCH.device and row["precision"] == "fp32"
    assert (row["paper_minutes"], row["paper_hardware"]) == (40.0, "2 x A6000, batch 128")


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_in_words(home: Home, format: str) -> None:
    cells_apart = shown(home, format).replace("</td>", " </td>").replace("<td>", "<td> ")
    text = " ".join(cells_apart.split())
    for part in (
        "mmcoa, full on cifar10, ViT-B-32",
        " 1 ",
        "8.33",
        "3.00 GiB",
        "2 x A6000, batch 128",
        "2.20GHz, 2 threads",
    ):
        assert part in text
    assert "tecoa" not in text and "clip" not in text.replace("clip-path", "")


@pytest.mark.usefixtures("timed")
def test_as_csv(home: Home) -> None:
    (row,) = csv.DictReader(io.StringIO(shown(home, "csv")))
    assert row["minutes"] == "1.0" and row["paper_minutes"] == "40.0"


def test_the_numbers_of_the_paper_are_all_there() -> None:
    numbers = {(n.source, n.shots) for n in catalog.paper() if n.task == "time"}
    cells = {(c.source, c.shots) for name in ("table8", "table8-few") for c in catalog.tables()[name].cells()}
    assert numbers == cells and len(numbers) == 7


def test_runs_without_times_are_named_as_such(home: Home, add: Add) -> None:
    add("mmcoa", {"clean": 7000}, source="cifar10")
    with pytest.raises(UserError, match="the index holds no time of a training run for table8"):
        make_report(TABLE, home)
