"""A run that is followed: by a tracker, and by the test it ends with, made in between. Its weights do not change."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from typer.testing import CliRunner, Result

from mmcoa_cli.app import app
from mmcoa_cli.jobs.tracking import require_tracker
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.literals import Tracker
from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index

WORDS = (
    "train", "--method", "mmcoa", "--dataset", "digits", "--model", "vit", "--mlm", "mlm", "--shots", "2", "--epochs",
    "2", "--batch-size", "8", "--eps", "8/255", "--alpha", "4/255", "--steps", "2",
)  # fmt: skip


def mmcoa(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def weights(home: Home) -> dict[str, torch.Tensor]:
    (run,) = home.checkpoints.iterdir()
    return load_tensors(epochs_in(run)[-1])


@pytest.mark.parametrize("name", get_args(Tracker))
def test_a_tracker_that_is_not_installed_is_one_line(home: Home, name: str) -> None:
    if find_spec(name):
        pytest.skip(f"{name} is installed")
    ended = mmcoa(*WORDS, "--track", name)
    assert str(ended.exception) == f"{name} is not installed"
    assert isinstance(ended.exception, UserError) and ended.exception.hint == f"pip install {name}"
    assert not home.checkpoints.exists()


def test_the_size_of_the_test_and_the_numbers_in_between(
    home: Home, new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = ("--test-limit", "30", "--test-steps", "3")
    ended = mmcoa(*WORDS, *size, "--evaluate-every", "1", "--json")
    assert ended.exit_code == 0, ended.exception
    rows = json.loads(ended.stdout)["rows"]
    assert {(row["attack"], row["n"]) for row in rows if row["metric"].endswith("accuracy")} == {
        (attack, 30) for attack in ("clean", "image", "text", "multimodal")
    }
    found = {row.attack: row for _, row in Index(home.database_url).results() if "accuracy" in row.metric}
    assert found["image"].threat["image"]["steps"] == 3
    lines = [line for line in ended.stderr.splitlines() if line.startswith("after epoch ")]
    assert [line.partition(":")[0] for line in lines] == ["after epoch 1", "after epoch 2"]
    last = ", ".join(f"{attack} {100 * found[attack].value:.2f}" for attack in ("clean", "image", "text", "multimodal"))
    assert lines[1] == f"after epoch 2: {last}"  # the test at the end is the very same
    assert not list(home.runs.glob("*/watched")) and len(list(home.examples.glob("*.h5"))) == 4
    other = new_home("other")
    monkeypatch.setenv("MMCOA_HOME", str(other.root))
    assert mmcoa(*WORDS, "--no-evaluate").exit_code == 0
    one, two = weights(home), weights(other)
    assert [run.name for run in home.checkpoints.iterdir()] == [run.name for run in other.checkpoints.iterdir()]
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("option", [("--test-limit", "9"), ("--test-steps", "9"), ("--evaluate-every", "1")])
def test_options_of_a_test_that_is_not_made_are_refused(home: Home, option: tuple[str, str]) -> None:
    ended = mmcoa(*WORDS, "--no-evaluate", *option)
    assert str(ended.exception) == f"{option[0]} would be ignored: --no-evaluate tests nothing"


def test_tensorboard_reads_what_was_logged(home: Home) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    require_tracker("tensorboard")
    every = ("--test-limit", "20", "--test-steps", "2", "--evaluate-every", "2")
    ended = mmcoa(*WORDS, *every, "--track", "tensorboard")
    assert ended.exit_code == 0, ended.exception
    (run,) = home.checkpoints.iterdir()
    folder = home.runs / run.name / "tensorboard"
    assert f"logged to {folder}; look at it with: tensorboard --logdir {folder}" in ended.stderr.splitlines()
    log: Any = events.EventAccumulator(str(folder)).Reload()
    losses = log.Scalars("loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]  # 20 images, 8 at a time, twice
    index = Index(home.database_url)
    of_epochs = [(event.step, event.value) for event in log.Scalars("epoch_loss")]
    assert of_epochs == [(3 * row.epoch, pytest.approx(row.loss, rel=1e-6)) for row in index.epochs(run.name)]
    assert sum(event.value for event in losses[:3]) / 3 == pytest.approx(of_epochs[0][1], rel=1e-6)
    assert all(event.value > 0 for event in log.Scalars("images_per_second"))
    assert len(log.Scalars("seconds_waiting")) == 6
    (robust,) = log.Scalars("test/robust_accuracy/image")
    (stored,) = [row.value for _, row in index.results() if (row.attack, row.metric) == ("image", "robust_accuracy")]
    assert (robust.step, robust.value) == (6, pytest.approx(stored, rel=1e-6))


def test_nothing_is_logged_outside_the_run(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert mmcoa(*WORDS, "--no-evaluate", "--track", "tensorboard").exit_code == 0
    logged = list(tmp_path.rglob("events.*"))
    assert logged and all(home.runs in path.parents for path in logged)
