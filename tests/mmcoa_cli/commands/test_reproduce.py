"""`mmcoa reproduce`, as typed."""

from __future__ import annotations

import html
import json
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mmcoa_cli.app import app
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.errors import UserError
from store.index import Index

MODELS = ("--model", "vit", "--mlm", "mlm")
SMALLEST = ("--preset", "quick", "--hours", "1e-6", "--source", "digits", "--batch-size", "16", *MODELS)


def mmcoa(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def document(*words: str) -> dict[str, Any]:
    """The JSON that a command prints when it goes well."""
    ended = mmcoa(*words, "--json")
    assert ended.exit_code == 0, ended.exception
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def files(home: Home) -> set[tuple[Path, int]]:
    """All files and when they were written, but for the memory of checksums."""
    every = [path for path in home.root.rglob("*") if path.is_file() and ".verified" not in path.parts]
    return {(path, path.stat().st_mtime_ns) for path in every}


def test_a_dry_run_without_the_models(home: Home) -> None:
    words = ("reproduce", "table1", "--dry-run", "--source", "digits", "--mlm", "mlm")
    plan = document(*words)
    assert plan["estimated_seconds"] is None
    assert {step["title"]: step["cached"] for step in plan["steps"]}["fetch ViT-B-32"] is False
    assert "when the models are here" in " ".join(mmcoa(*words).stdout.split())
    shown = mmcoa("reproduce", "table2", *words[2:])
    assert "trained on digits" in shown.stdout and "not as in the paper" in shown.stdout
    several = document("reproduce", "table1", "table4", "fig7", *words[2:])
    trained = [step["command"] for step in several["steps"] if step["kind"] == "train"]
    assert several["name"] == "table1,table4,fig7" and len({*trained}) == len(trained) == 3 + 2 + 2


@pytest.mark.slow(seconds=30)
def test_typed_by_hand_the_steps_are_the_same(home: Home) -> None:
    """A dry run writes nothing; after the commands of its plan nothing is left, and `reproduce` prints the table."""
    words, before = ("reproduce", "table1", *SMALLEST), files(home)
    plan = document(*words, "--dry-run")
    assert files(home) == before
    assert (plan["name"], plan["preset"]) == ("table1", "quick") and plan["estimated_seconds"] > 0
    kinds = [step["kind"] for step in plan["steps"]]
    assert (kinds.count("train"), kinds.count("evaluate")) == (3, 4)
    for step in plan["steps"]:
        assert set(step) == {"kind", "title", "command", "cached", "seconds", "bytes"}
        if not step["cached"]:
            ended = mmcoa(*shlex.split(step["command"])[1:])
            assert ended.exit_code == 0, (step["command"], ended.exception)
    done = document(*words)
    assert all(step["cached"] for step in done["steps"]) and done["estimated_seconds"] == 0 and done["failures"] == []
    assert {row["method"] for row in done["report"]["rows"]} == {"clip", "ft-standard", "tecoa", "mmcoa"}
    page = home.root / "page.html"
    shown = mmcoa(*words, "--output", str(page))
    assert shown.exit_code == 0 and "nothing is left to compute" in shown.stderr
    assert "Table I" in shown.stdout and "mmcoa, 1-shot" in shown.stdout and "multimodal" in shown.stdout
    text = html.unescape(page.read_text(encoding="utf8"))
    assert f"{100 * done['report']['rows'][0]['value']:.2f}" in text
    made_by = text.partition("The commands that make them")[2].partition("</code>")[0]
    commands = re.findall(r"^(?:.*>)?mmcoa (evaluate .*)$", made_by, flags=re.MULTILINE)
    there = {path.stat().st_mtime_ns for path in home.examples.iterdir()}
    for command in commands:
        assert mmcoa(*shlex.split(command)).exit_code == 0
    assert len(commands) == 4 and {path.stat().st_mtime_ns for path in home.examples.iterdir()} == there


def test_a_model_that_cannot_be_had(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at its import
    ended = mmcoa("reproduce", "table1", "--source", "digits")
    assert ended.exit_code == 1 and isinstance(ended.exception, UserError)
    assert "mmcoa fetch ViT-B-32 --from PATH" in ended.exception.hint and "tiny-clip" in ended.exception.hint
    assert not home.runs.exists()


def test_what_cannot_be_planned_is_two_lines(home: Home) -> None:
    for words, error, hint in (
        (["table1", "--output", "page.pdf"], "page.pdf is no page", "end it in .html"),
        (["table1", "--preset", "quick"], "no dataset of table1 is in the store", "mmcoa fetch cifar10"),
    ):
        ended = mmcoa("reproduce", *words)
        assert ended.exit_code == 1 and isinstance(ended.exception, UserError)
        assert error in str(ended.exception) and hint in ended.exception.hint


def test_what_fails_is_told_at_the_end(home: Home) -> None:
    """A dataset with two training images a class cannot be trained on at 5 and 50 shots."""
    writer = DatasetWriter(
        home.datasets / "few.h5", name="few", class_names=["one", "two"], pixel_size=8, resize=None,
        template="This is a photo of a {}", source="here", image_size=8,
    )  # fmt: skip
    with writer as out:
        for split, label in [("train", 0), ("train", 1), ("test", 0), ("test", 1)] * 2:
            out.add(split, np.zeros((8, 8, 3), np.uint8), label)
    ended = mmcoa("reproduce", "table8-few", "--preset", "quick", "--source", "few", *MODELS, "--json")
    assert ended.exit_code == 1 and "2 of 6 steps failed, 2 that need them were not begun" in str(ended.exception)
    failures = json.loads(ended.stdout)["failures"]
    assert {failure["title"] for failure in failures if "has only 2" in failure["error"]} == {
        f"train mmcoa, {shots}-shot on few" for shots in (5, 50)
    }
    assert len(failures) == 4


@pytest.mark.slow(seconds=30)
def test_killed_and_interrupted_it_goes_on(home: Home, typed: Callable[..., Any]) -> None:
    words = ("reproduce", "table3", *SMALLEST)

    def trained(count: int) -> Callable[[], bool]:
        return lambda: len(list(home.checkpoints.glob("*/epoch-001/model.safetensors"))) >= count

    first = typed(home, *words)
    first.until(trained(1))
    first.process.kill()
    first.end()
    second = typed(home, *words)
    second.until(trained(2))
    second.process.send_signal(signal.SIGINT)
    code, out, err = second.end()
    assert (code, out) == (130, "") and "type the same command again" in err
    runs = {run.id: run for run in Index(home.database_url).runs() if run.status == "complete"}
    code, out, _ = typed(home, *words, "--json").end()
    done = json.loads(out)
    assert code == 0 and done["failures"] == [] and {row["n"] for row in done["report"]["rows"]} == {20}
    assert any(step["cached"] for step in done["steps"] if step["kind"] == "train")
    index = Index(home.database_url)
    assert len(index.runs()) == 4 and len({result.evaluation for _, result in index.results()}) == 4
    assert all(index.run(run_id) == run for run_id, run in runs.items())
