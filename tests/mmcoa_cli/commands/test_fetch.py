"""`mmcoa fetch` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mmcoa_cli.commands import fetch
from mmcoa_cli.inventory import everything
from store.errors import UserError

app = typer.Typer()
app.command(fetch.NAME)(fetch.command)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_fetching_twice(home: Path) -> None:
    first, second = typed("digits", "--json"), typed("digits", "--json")
    (one,), (two,) = json.loads(first.stdout)["fetched"], json.loads(second.stdout)["fetched"]
    assert one == {
        "name": "digits", "kind": "dataset", "path": str(home / "datasets" / "digits.h5"), "bytes": one["bytes"],
        "new": True,
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


def test_the_examples_name_the_verb() -> None:
    assert fetch.EXAMPLES.count("mmcoa fetch") >= 3
