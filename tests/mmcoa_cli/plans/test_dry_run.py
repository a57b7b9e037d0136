"""`--dry-run` of train, evaluate and attack: what they would take here, and that it is told beside what they took."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from mmcoa_cli import catalog
from mmcoa_cli.app import app
from mmcoa_cli.jobs.job import Start
from mmcoa_cli.models.memory import counted
from mmcoa_cli.plans import measuring
from mmcoa_cli.plans.cells import Settings
from mmcoa_cli.plans.dry_run import _too_large
from mmcoa_cli.plans.request import Work
from mmcoa_cli.settings import Home
from store.errors import UserError

MODELS = ("--model", "vit", "--mlm", "mlm")
SMALL = ("--shots", "2", "--epochs", "2", "--steps", "2", "--batch-size", "16")
TRAIN = ("train", "--method", "tecoa", "--dataset", "digits", *MODELS, *SMALL)
KEYS = {"kind", "title", "command", "run", "cached", "seconds", "bytes", "memory"}


def mmcoa(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def document(*words: str) -> dict[str, Any]:
    ended = mmcoa(*words, "--json")
    assert ended.exit_code == 0, ended.exception
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def files(home: Home) -> set[tuple[Path, int]]:
    """All files and when they were written, but for the memory of checksums and of what was planned."""
    every = [path for path in home.root.rglob("*") if path.is_file() and not {".verified", ".planned"} & {*path.parts}]
    return {(path, path.stat().st_mtime_ns) for path in every}


@pytest.mark.slow
def test_a_training_is_estimated_and_then_found(home: Home) -> None:
    before = files(home)
    (step,) = (found := document(*TRAIN, "--dry-run", "--test-limit", "20", "--test-steps", "2"))["steps"]
    assert files(home) == before and set(step) == KEYS
    assert step["kind"] == "train" and step["run"].startswith("tecoa-digits-2shot-") and not step["cached"]
    assert step["command"].endswith("--test-limit 20 --test-steps 2")
    assert 0 < step["seconds"] == found["estimated_seconds"] and found["free_memory"] > step["memory"] > 10**7
    ended = mmcoa(*TRAIN, "--test-limit", "20", "--test-steps", "2", "--json")
    run = (done := json.loads(ended.stdout))["run"]
    assert run == step["run"]
    assert done["planned"] == {name: step[name] for name in ("seconds", "memory", "bytes")}
    assert re.search(
        r"took .*s, \d+ MB on disk, .*B of memory; planned: .*s, \d+ MB on disk, .* of memory", ended.stderr
    )
    written = sum(path.stat().st_size for folder in (home.checkpoints, home.examples) for path in folder.rglob("*.*"))
    assert 0.7 < step["bytes"] / written < 1.5
    assert (
        done["took"]["bytes"] == pytest.approx(written, rel=0.01) and 0.5 < step["memory"] / done["took"]["memory"] < 2
    )
    again = mmcoa(*TRAIN, "--test-limit", "20", "--test-steps", "2", "--json")  # of which all is there
    assert "took" not in json.loads(again.stdout) and "took" not in again.stderr
    shown = mmcoa(*TRAIN, "--dry-run", "--test-limit", "20", "--test-steps", "2")
    assert shown.stdout == f"train tecoa, 2-shot on digits, seed 0 (run {run}): is in the store already\n"


def test_a_test_is_estimated(home: Home) -> None:
    words = ("evaluate", "--checkpoint", "vit", "--dataset", "digits", "--attack", "clean,image", "--steps", "3")
    before = files(home)
    shown = mmcoa(*words, "--limit", "40", "--dry-run")
    assert shown.exit_code == 0, shown.exception
    first, last = shown.stdout.splitlines()
    assert first.startswith("test vit: about ") and " on disk, " in first and first.endswith(" of memory")
    assert last.startswith("free here: ") and last.endswith("on this cpu")
    assert files(home) == before
    for planned in (True, False):  # once: the rest of what was interrupted was not estimated
        told = mmcoa(*words, "--limit", "40").stderr
        assert "took" in told and "planned: " in told and told.rstrip().endswith("of memory") == planned
        shutil.rmtree(home.examples)


def test_a_model_that_takes_long_is_measured_with_one_image(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "LONG", 0.0)
    words = ("attack", "image", "--checkpoint", "vit", "--dataset", "digits", "--steps", "3", "--limit", "40")
    (step,) = document(*words, "--dry-run")["steps"]
    assert step["seconds"] > 0 and step["memory"] > 10**7
    assert mmcoa(*words).exit_code == 0
    written = sum(path.stat().st_size for path in home.examples.rglob("*.h5"))
    assert 0.5 < step["bytes"] / written < 2


def test_a_model_that_is_not_here_is_not_fetched(home: Home) -> None:
    shown = mmcoa("attack", "image", "--checkpoint", "ViT-B-32", "--dataset", "digits", "--dry-run")
    assert shown.exit_code == 0, shown.exception
    first, second = shown.stdout.splitlines()
    assert first == "test ViT-B-32: not measured"
    assert second == "no time: ViT-B-32 is not here (mmcoa fetch ViT-B-32)"


def test_what_cannot_be_is_told(home: Home) -> None:
    ended = mmcoa("train", "--dataset", "stl10", "--dry-run")
    assert isinstance(ended.exception, UserError) and "stl10 is not in the store" in str(ended.exception)
    ended = mmcoa(
        "train", "--method", "tecoa", "--dataset", "digits", "--model", "ViT-L-14", "--shots", "2", "--dry-run"
    )
    assert isinstance(ended.exception, UserError) and "no model called 'ViT-L-14'" in str(ended.exception)


def test_a_model_that_does_not_fit_is_not_measured(tmp_path: Path) -> None:
    with (tmp_path / "open_clip_model.safetensors").open("wb") as file:
        file.truncate(psutil.virtual_memory().available // 4)  # of which nothing is written
    training = Work(Settings("large", {}, {}), (catalog.methods()["tecoa"],), (), Start())
    assert re.match(r"measuring large takes .*B of memory, and .*B are free", _too_large(training, tmp_path))
    assert not _too_large(replace(training, methods=(), attacks=("image",)), tmp_path)


def test_what_is_held_for_the_gradients() -> None:
    """Of a product of 8 rows the input (8 x 100 floats) is held, and what the cosine was taken of (8 x 50); weights are
    there anyway, and of two losses one after the other the greater counts."""
    layer = nn.Linear(100, 50)
    with counted(layer.parameters()) as held:
        for rows in (8, 4):
            layer(torch.ones(rows, 100)).cos().sum().backward()
    assert held.most == 8 * 100 * 4 + 8 * 50 * 4
