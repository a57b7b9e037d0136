"""`report --task compare`: a line for each checkpoint, and how likely its distance to the best is chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import Report
from mmcoa_cli.reports.report import make_report
from mmcoa_cli.settings import Home
from store.examples import ExampleSet
from store.index import Index

TABLE = catalog.tables()["compare"]
Add = Callable[..., Any]
SAMPLES = 40


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}")


@pytest.fixture
def tested(home: Home, add: Add) -> Callable[..., None]:
    """Put a checkpoint into the index whose example set says for which of 40 images it was right."""

    def put(method: str, right: Sequence[int], *, attack: str = "image", **options: Any) -> None:
        examples = ExampleSet(home.examples, {"of": [method, attack, str(options)]}, n=SAMPLES, block_size=SAMPLES)
        examples.missing()
        credit = np.isin(np.arange(SAMPLES), right).astype(np.float64)
        examples.write_block(0, {"index": np.arange(SAMPLES), "credit": credit}, None)
        examples.finish(texts={})
        add(method, {attack: len(right)}, n=SAMPLES, examples=examples.key, **options)

    return put


def report(home: Home) -> Report:
    return make_report(TABLE, home)


def test_the_distance_to_the_best_has_the_p_value_of_the_pairs(home: Home, tested: Callable[..., None]) -> None:
    tested("tecoa", range(30))
    tested("mmcoa", [*range(22), 38, 39])
    tested("clip", range(30), attack="clean")
    told = {row["method"]: row for row in report(home).dicts() if row["attack"] == "image"}
    assert (told["tecoa"]["behind_best"], told["tecoa"]["p"]) == (0.0, None)
    assert told["mmcoa"]["behind_best"] == pytest.approx(6 / SAMPLES)
    assert told["mmcoa"]["p"] == pytest.approx(binomtest(2, 10).pvalue)  # 8 lost, 2 won


def test_models_runs_and_shots_share_a_table_and_attacks_do_not(home: Home, tested: Callable[..., None]) -> None:
    tested("clip", range(10))
    tested("tecoa", range(30), shots="5")
    tested("mmcoa", range(20), model="ViT-L-14")
    tested("mmcoa", range(33), attack="clean", model="ViT-L-14")
    clean, image = report(home).sheets()
    values = [line for line in image.lines if line.kind == "value"]
    assert len(values) == 3 and [line.kind for line in clean.lines].count("value") == 1
    assert {line.label.rpartition(", ")[2] for line in values} == {"ViT-B-32", "ViT-L-14"}
    marks = [line.cells[0] for line in image.lines if line.label == "against the best"]
    assert sorted(mark.partition(",")[0] for mark in marks) == ["best", "−25.00", "−50.00"]
    assert not [line for line in clean.lines if line.label == "against the best"]  # there is one


def test_a_checkpoint_that_was_tested_on_nothing_but_its_own_data_takes_part(home: Home, add: Add) -> None:
    add("tecoa", {"image": 30}, n=SAMPLES)
    add("mmcoa", {"image": 24}, n=SAMPLES, source="imagenet", dataset="cifar10")
    assert {row["method"] for row in report(home).dicts()} == {"tecoa", "mmcoa"}


def test_without_the_examples_there_is_no_p_value(home: Home, index: Index, add: Add) -> None:
    add("tecoa", {"image": 30}, n=SAMPLES)
    add("mmcoa", {"image": 24}, n=SAMPLES)
    told = {row["method"]: row for row in report(home).dicts()}
    assert told["mmcoa"]["behind_best"] == pytest.approx(0.15) and told["mmcoa"]["p"] is None


def test_where_the_first_class_wins_ties_no_pair_differs_by_half(home: Home, add: Add) -> None:
    """A result of `--compat ties` counts what `argmax` says, and so does the test of its difference."""
    for method, predicted in (("tecoa", 1), ("mmcoa", 0)):
        examples = ExampleSet(home.examples, {"of": method}, n=SAMPLES, block_size=SAMPLES)
        examples.missing()
        columns = {"index": np.arange(SAMPLES), "label": np.ones(SAMPLES, int), "credit": np.full(SAMPLES, 0.5)}
        first = np.where(np.arange(SAMPLES) < 10, predicted, 1)
        examples.write_block(0, {**columns, "prediction": first}, None)
        examples.finish(texts={})
        right = int((first == 1).sum())
        add(method, {"image": right}, n=SAMPLES, compat="ties", examples=examples.key)
    told = {row["method"]: row for row in report(home).dicts()}
    assert told["mmcoa"]["behind_best"] == pytest.approx(0.25)
    assert told["mmcoa"]["p"] == pytest.approx(binomtest(0, 10).pvalue)  # without that, all pairs are equal: p 1
