"""What `mmcoa doctor` finds in stores that are healthy, unfinished or damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmcoa_cli import health
from mmcoa_cli.health import FAIL, OK, WARN, Check, checks
from mmcoa_cli.settings import Home
from store.examples import ExampleSet
from store.index import Index
from store.schema import Run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    root = tmp_path / "home"
    return Home(root, f"sqlite:///{root / 'index.db'}")


def check(home: Home, name: str) -> Check:
    (found,) = [entry for entry in checks(home) if entry.name == name]
    return found


def run(status: str) -> Run:
    return Run(
        id=f"mmcoa-{status}", kind="train", method="mmcoa", model="tiny-clip", model_origin="stand-in", weights=None,
        source="digits",
        shots="5", seed=0, compat="none", status=status, spec="{}", created_at="2026-01-01", finished_at=None,
    )  # fmt: skip


def test_a_check_that_is_not_ok_says_what_to_do(home: Home) -> None:
    home.examples.mkdir(parents=True)
    (home.examples / "x.parts").mkdir()
    assert all(entry.advice for entry in checks(home) if entry.status != OK)


def test_an_index_that_is_not_there_is_not_begun(home: Home) -> None:
    home.root.mkdir()
    assert check(home, "index").status == OK
    assert list(home.root.iterdir()) == []


def test_runs_that_were_not_finished_are_named(home: Home) -> None:
    index = Index(home.database_url)
    index.save_run(run("complete"))
    index.save_run(run("running"))
    assert check(home, "index").found == "2 runs, 0 results"
    unfinished = check(home, "unfinished run")
    assert (unfinished.status, unfinished.found) == (WARN, "mmcoa-running")
    assert "mmcoa train --resume mmcoa-running" in unfinished.advice


def test_a_damaged_index_is_a_failed_check(home: Home) -> None:
    home.root.mkdir()
    (home.root / "index.db").write_bytes(b"no database" * 100)
    assert check(home, "index").status == FAIL


def test_the_password_of_a_database_is_never_shown(home: Home) -> None:
    secret = Home(home.root, "postgresql+psycopg://me:hunter2@127.0.0.1:1/nothing")
    found = check(secret, "index")
    assert found.status == FAIL and "hunter2" not in repr(checks(secret))


def test_unfinished_example_sets_are_counted(home: Home) -> None:
    examples = ExampleSet(home.examples, {"attack": "clean"}, n=4, block_size=2)
    examples.missing()
    found = check(home, "unfinished examples")
    assert found.status == WARN and found.found.startswith("1 sets, ") and str(examples.parts) in found.advice


def test_the_remains_of_interrupted_commands_are_named(home: Home) -> None:
    home.datasets.mkdir(parents=True)
    (home.datasets / ".cifar10.h5.partial").write_bytes(b"x" * 2_000_000)
    (home.datasets / "cifar-10.tar.gz.partial").write_bytes(b"x" * 500_000)
    (home.checkpoints / "run" / ".epoch-001.partial").mkdir(parents=True)
    (home.checkpoints / "run" / ".epoch-001.partial" / "model.safetensors").write_bytes(b"x" * 500_000)
    found = check(home, "remains")
    assert (found.status, found.found) == (WARN, "3 of interrupted commands, 3.0 MB")
    assert ".cifar10.h5.partial" in found.advice


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_to(home: Home) -> None:
    home.root.mkdir()
    home.root.chmod(0o500)
    try:
        assert check(home, "folder").status == FAIL
    finally:
        home.root.chmod(0o700)


def test_a_home_that_is_a_file_is_found_out(home: Home) -> None:
    home.root.write_text("no folder")
    assert check(home, "folder").status == FAIL


def test_the_token_is_never_shown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    assert check(home, "Hugging Face token").found == "there is one (not shown)"
    assert "verysecret" not in repr(checks(home))


def test_both_packages_come_from_one_place(home: Home) -> None:
    assert check(home, "packages").status == OK


def test_a_package_that_is_missing_or_too_old() -> None:
    missing, old = health._package("no-such-package", ">=2"), health._package("rich", ">=9999")
    assert (missing.status, missing.found, missing.advice) == (FAIL, "missing", "pip install 'no-such-package>=2'")
    assert old.status == FAIL and old.advice == "pip install 'rich>=9999'"


def test_the_verdict_names_what_failed() -> None:
    fine, wrong = Check("a", "fine", WARN, "", "do x"), Check("a", "wrong", FAIL, "", "do y")
    assert health.verdict([fine]) is None
    error = health.verdict([fine, wrong])
    assert error is not None and (str(error), error.hint) == ("failed: wrong", "do y")
