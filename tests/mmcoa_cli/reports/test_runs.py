"""`mmcoa runs`: which runs there are, what they are made of, and what came out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from indexes import EPOCH
from rich.console import Console
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.plans.missing import made_by
from mmcoa_cli.reports.filters import Filter, moment
from mmcoa_cli.reports.one_run import _parts, described, sparkline
from mmcoa_cli.reports.runs import lines_of, listed
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.lines import plain_text
from store.errors import UserError
from store.index import Index
from store.schema import Run

Add = Callable[..., Run]
CORRECT = {"clean": 900, "image": 700, "text": 500, "multimodal": 300}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The store whose index the fixture `add` writes."""
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    return Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}")


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["runs", *words])
    if result.exception:
        raise result.exception
    return result.stdout


def test_a_run_has_its_unusual_settings_and_its_lowest_accuracy(home: Home, index: Index, add: Add) -> None:
    made = add("mmcoa", CORRECT, n=1000, training={"lr": 1e-4, "compat": "release"})
    for number in (1, 2):
        index.save_epoch(replace(EPOCH, run_id=made.id, epoch=number, seconds=30.0))
    [one] = listed(home, Filter())
    assert (one.run, one.dataset, one.settings) == (made.id, "cifar10", {"lr": 1e-4, "compat": "release"})
    assert (one.seconds, one.clean and one.clean.value) == (60.0, 0.9)
    assert one.robust and (one.robust.attack, one.robust.eps, one.robust.value) == ("multimodal", "1/255", 0.3)


def test_only_the_newest_test_of_the_dataset_it_was_trained_on_counts(home: Home, add: Add) -> None:
    add("tecoa", CORRECT, n=1000, created_at="2026-01-01T02:00:00+00:00")
    add("tecoa", {"multimodal": 400}, n=1000, created_at="2026-01-02T02:00:00+00:00", steps=10)
    add("tecoa", {"multimodal": 10}, n=1000, source="cifar10", dataset="stl10", created_at="2026-01-03T02:00:00+00:00")
    [one] = listed(home, Filter())
    assert one.robust and (one.robust.dataset, one.robust.value) == ("cifar10", 0.4)
    [on_stl10] = listed(home, Filter(datasets=("stl10",)))
    assert on_stl10.robust and (on_stl10.robust.dataset, on_stl10.robust.value) == ("stl10", 0.01)


def test_no_other_metric_is_taken_for_an_accuracy(home: Home, index: Index, add: Add) -> None:
    """A cosine is none, and of a run that was tested in retrieval alone it is the first recall."""
    made, other = add("tecoa", CORRECT, n=1000), add("mmcoa", {}, source="cifar10")
    like = next(one for _, one in index.results() if one.metric == "clean_accuracy")
    later = replace(like, created_at="2027-01-01T02:00:00+00:00")
    later = replace(later, low=None, high=None, evaluation="f" * 40)
    cosine = replace(later, task="features", metric="mean_cosine", value=0.9967)
    recalls = [
        replace(later, evaluation="r" * 40, run_id=other.id, task="retrieval", metric=name, value=value)
        for name, value in (("IR@1", 0.1), ("TR@1", 0.2), ("TR@5", 0.3))
    ]
    index.save_results([cosine])
    index.save_results(recalls)
    found = {one.run: one for one in listed(home, Filter())}
    assert [one.clean and one.clean.value for one in (found[made.id], found[other.id])] == [0.9, 0.2]
    assert described(made.id, home, made_by=made_by).listed.clean == found[made.id].clean
    text = run(made.id)
    assert "0.9967" in text and "99.67" not in text


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        ((), {"clip", "tecoa", "mmcoa"}),
        (("--method", "mmcoa,tecoa"), {"tecoa", "mmcoa"}),
        (("--dataset", "stl10"), {"tecoa"}),
        (("--model", "ViT-L-14"), {"mmcoa"}),
        (("--checkpoint", "tecoa"), {"tecoa"}),
        (("--checkpoint", "ViT-L-14"), {"mmcoa"}),
        (("--since", "2025-06-01"), {"clip", "tecoa", "mmcoa"}),
    ],
)
def test_filters_choose_runs(home: Home, add: Add, words: tuple[str, ...], methods: set[str]) -> None:
    add("clip", CORRECT, n=1000)
    add("tecoa", CORRECT, n=1000, source="cifar10", dataset="stl10")
    add("mmcoa", CORRECT, n=1000, model="ViT-L-14")
    assert {one["method"] for one in json.loads(run(*words, "--json"))["runs"]} == methods


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "tecoar"), "did you mean tecoa?"),
        (("--dataset", "cifar100"), "did you mean cifar10?"),
        (("--dataset", "cifar"), "did you mean cifar10?"),
        (("--model", "ViT-B"), "did you mean ViT-B-32?"),
        (("--since", "2031-01-01"), "mmcoa runs lists all"),
        (("--since", "soon"), "--since 7d"),
    ],
)
def test_filters_that_choose_nothing_say_what_there_is(home: Home, add: Add, words: tuple[str, ...], said: str) -> None:
    add("tecoa", CORRECT, n=1000)
    with pytest.raises(UserError) as error:
        run(*words)
    assert said in str(error.value.hint)


def test_without_any_run_it_says_how_to_make_one(home: Home) -> None:
    with pytest.raises(UserError, match="no run yet"):
        run()


def test_moments_are_days_or_so_long_ago() -> None:
    assert moment("2026-11-25T14:00:00+02:00") == "2026-11-25T12:00:00+00:00"
    ago = datetime.now(UTC) - datetime.fromisoformat(moment("36h"))
    assert timedelta(hours=36) <= ago < timedelta(hours=36, minutes=5)


def test_all_of_a_run_has_the_command_that_makes_it_again(home: Home, index: Index, add: Add) -> None:
    made = add("mmcoa", CORRECT, n=1000, shots="5", training={"lr": 1e-4})
    index.save_epoch(replace(EPOCH, run_id=made.id, loss=0.75))
    (home.checkpoints / made.id / "epoch-001").mkdir(parents=True)
    (home.checkpoints / made.id / "epoch-001" / "weights").write_bytes(b"x" * 100)
    found = described(made.id[:8], home, made_by=made_by)
    assert found.command == "mmcoa train --method mmcoa --dataset cifar10 --shots 5 --lr 0.0001"
    assert found.files == {str(home.checkpoints / made.id): 100}
    document = json.loads(run(made.id, "--json"))
    assert (document["run"], document["unusual"], document["epochs"][0]["loss"]) == (made.id, {"lr": 1e-4}, 0.75)
    assert {one["attack"] for one in document["results"]} == set(CORRECT)
    assert document["settings"]["steps"] == 10


def test_what_is_printed_of_a_run_has_its_results_and_the_whole_command_in_a_line(home: Home, add: Add) -> None:
    made = add("mmcoa", CORRECT, n=1000, shots="5", training={"lr": 1e-4, "steps": 7, "epochs": 3})
    lines = run(made.id).splitlines()
    assert lines[-1].split()[:2] == ["mmcoa", "train"]
    assert "--steps 7" in lines[-1]
    assert any("70.00" in line and "image" in line for line in lines)


def test_the_command_and_the_file_of_a_run_have_the_size_of_the_test_it_ended_with(home: Home, add: Add) -> None:
    made = add("mmcoa", CORRECT, n=1000, shots="5", limit=1000, steps=7)
    whole = add("mmcoa", {"clean": 9000}, n=10000, dataset="stl10")
    assert described(made.id, home, made_by=made_by).command == (
        "mmcoa train --method mmcoa --dataset cifar10 --shots 5 --test-limit 1000 --test-steps 7"
    )
    assert run(made.id, "--toml").splitlines()[-2:] == ["test_limit = 1000", "test_steps = 7"]
    assert "test" not in described(whole.id, home, made_by=made_by).command


def test_numbers_are_whole_in_a_narrow_terminal(home: Home, add: Add) -> None:
    made = add("mmcoa", CORRECT, n=10000, shots="5")
    printed = StringIO()
    Console(width=80, file=printed).print(_parts(described(made.id, home, made_by=made_by)))
    lines = printed.getvalue().splitlines()
    assert sum(bool(re.search(r" \d+\.\d\d–\d+\.\d\d  10,000 ", line)) for line in lines) == len(CORRECT)


@pytest.mark.parametrize("width", [40, 60])
def test_where_columns_have_no_room_results_are_told_in_words(home: Home, add: Add, width: int) -> None:
    made = add("mmcoa", CORRECT, n=10000, shots="5")
    printed = StringIO()
    Console(width=width, file=printed).print(_parts(described(made.id, home, made_by=made_by)))
    text = " ".join(printed.getvalue().split())
    for attack in CORRECT:
        pattern = (
            rf"dataset cifar10, attack {attack}[^%]*, metric \w+ accuracy, % [\d.]+, 95% [\d.]+–[\d.]+, n 10,000, when"
        )
        assert re.search(pattern, text), attack


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_of_a_list_is_cut_in_a_narrow_terminal(home: Home, add: Add, width: int) -> None:
    add("mmcoa", CORRECT, n=1000, model="a-model-of-my-own", eps="0.0157", training={"lr": 1e-4, "epochs": 3})
    text = plain_text(lines_of(listed(home, Filter()), width=width))
    assert all(len(line) <= width for line in text.splitlines())
    for told in ("a-model-of-my-own", "90.00", "30.00", "1,000", "0.0157", "0.0001", "epochs"):
        assert told in text, told


def test_a_loss_is_drawn_by_its_height() -> None:
    assert sparkline([1.0, 0.5, 0.0]) == "█▅▁"
    assert sparkline([1.0]) == sparkline([2.0, 2.0]) == ""
