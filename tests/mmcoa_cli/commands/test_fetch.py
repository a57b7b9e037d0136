"""`mmcoa fetch` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

import store
from mmcoa_cli.commands import fetch
from mmcoa_cli.commands.known import everything
from store.errors import UserError

ROOT = Path(store.__file__).parents[1]
app = typer.Typer()
app.command("fetch")(fetch.command)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_fetching_twice(home: Path) -> None:
    first, second = typed("digits", "--json"), typed("digits", "--json")
    (one,), (two,) = json.loads(first.stdout)["fetched"], json.loads(second.stdout)["fetched"]
    assert one["about"]["splits"] == {"train": 1297, "test": 500}
    assert one == {
        "name": "digits", "kind": "dataset", "path": str(home / "datasets" / "digits.h5"), "bytes": one["bytes"],
        "new": True, "about": one["about"],
    }  # fmt: skip
    assert two == one | {"new": False}
    assert "already here" in typed("digits").stdout


def test_the_list(home: Path) -> None:
    shown = typed("--list")
    assert shown.exit_code == 0
    for name in everything():
        assert name in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert json.loads(typed("--list", "--json").stdout).keys() == {"datasets", "models", "mlms"}


@pytest.mark.parametrize(
    "words", [[], ["--json"], ["a", "b", "--from", "x"], ["--all", "--from", "x"], ["a", "--kind", "x"]]
)
def test_what_makes_no_sense_exits_with_2(words: list[str]) -> None:
    assert typed(*words).exit_code == 2


def test_an_error_a_user_can_cause(tmp_path: Path) -> None:
    result = typed("mybirds", "--from", str(tmp_path / "nowhere"))
    assert isinstance(result.exception, UserError)
    assert "no file or folder" in str(result.exception)


def folder_of_birds(folder: Path) -> Path:
    for split, bird in (("train", "robin"), ("test", "robin"), ("test", "wren")):
        (folder / split / bird).mkdir(parents=True)
        Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / split / bird / "1.png")
    return folder


def test_one_that_cannot_be_had_does_not_keep_the_others_away(home: Path, tmp_path: Path) -> None:
    typed("birds", "--from", str(folder_of_birds(tmp_path / "birds")))
    result = typed("digits", "nowhere", "birds", "no-where", "--json")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "2 of 4 could not be fetched: nowhere, no-where"
    assert "mmcoa fetch nowhere no-where" in result.exception.hint
    document = json.loads(result.stdout)
    assert [(one["name"], one["new"]) for one in document["fetched"]] == [("digits", True), ("birds", False)]
    assert document["failed"].keys() == {"nowhere", "no-where"}
    assert "no dataset called 'nowhere'" in document["failed"]["nowhere"]
    assert result.stderr.count("error: ") == 2
    assert (home / "datasets" / "digits.h5").exists()


def test_one_that_fails_alone_is_one_error(home: Path) -> None:
    result = typed("nowhere", "--json")
    assert str(result.exception).startswith("there is no dataset called 'nowhere'")
    assert json.loads(result.stdout) == {"fetched": [], "failed": {"nowhere": str(result.exception)}}
    assert "error: " not in result.stderr  # what ends the command says it


def test_all_that_fails_is_an_exit_code_of_1(home: Path, tmp_path: Path) -> None:
    """As it is typed, with the two lines on stderr and one document on stdout."""
    ended = subprocess.run(
        [sys.executable, "-m", "mmcoa_cli", "fetch", "digits", "nowhere", "--json"], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "MMCOA_HOME": str(home)},
    )  # fmt: skip
    assert ended.returncode == 1
    assert json.loads(ended.stdout).keys() == {"fetched", "failed"}
    error, hint = ended.stderr.splitlines()[-2:]
    assert error.startswith("error: 1 of 2 could not be fetched: nowhere") and hint.startswith("hint: ")
    assert "Traceback" not in ended.stderr


def test_names_and_a_template_for_a_dataset_of_ones_own(home: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Robin\nWren\n")
    words = ["--class-names", str(tmp_path / "names.txt"), "--template", "a drawing of a {}"]
    assert typed("birds", "--from", str(folder_of_birds(tmp_path / "birds")), *words).exit_code == 0
    (row,) = (row for row in json.loads(typed("--list", "--json").stdout)["datasets"] if row["name"] == "birds")
    assert (row["classes"], row["splits"], row["here"]) == (2, {"train": 1, "test": 2}, True)
    refused = typed("cifar10", "--template", "a {}")
    assert "has its class names and template in the catalog" in str(refused.exception)
