"""`mmcoa doctor`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli.commands import doctor
from store.errors import UserError

app = typer.Typer()
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.command)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    return tmp_path / "home"


def test_a_new_home_is_healthy_and_stays_empty(home: Path) -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0, result.exception
    for word in ("python", "torch", "memory", "disk", "index", "Hugging Face token"):
        assert word in result.stdout
    assert not home.exists()


def test_json_is_one_document() -> None:
    document = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert document["ok"] is True
    assert {"group", "name", "status", "found", "advice"} == set(document["checks"][0])
    assert {check["status"] for check in document["checks"]} <= {"ok", "warn", "fail"}
    assert all(check["advice"] for check in document["checks"] if check["status"] != "ok")


def test_a_damaged_index_fails_after_all_was_printed(home: Path) -> None:
    home.mkdir()
    (home / "index.db").write_bytes(b"no database" * 100)
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 1 and isinstance(result.exception, UserError)
    assert str(result.exception) == "failed: index" and result.exception.hint
    document = json.loads(result.stdout)
    assert document["ok"] is False and document["checks"][-1]["group"] == "network"
