"""`mmcoa report`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mmcoa_cli.commands import report
from store.errors import UserError
from store.index import Index
from store.schema import Evaluation, Run

app = typer.Typer()
app.command(report.NAME, epilog=report.EXAMPLES)(report.command)
RUN = Run(
    id="clip-ViT-B-32", kind="zero-shot", method="clip", model="ViT-B-32", model_stand_in=False, source="", shots="0",
    seed=0, compat="none", status="complete", spec="{}", created_at="2026-01-01", finished_at="2026-01-01",
)  # fmt: skip
CLEAN = Evaluation(
    id="e1", run_id=RUN.id, dataset="cifar10", split="test", attack="clean", metric="clean_accuracy", compat="none",
    value=0.88, n=10_000, correct=8800, attack_success_rate=None, collisions=None, seed=0, limit=None, partial=False,
    norm=None, eps=None, alpha=None, steps=None, precision="fp32", no_collisions=False, stop_when_fooled=False,
    examples="e" * 40, mlm=None, mlm_stand_in=False, prompts=None, spec="{}", seconds=1.0, batch_size=128,
    device="cpu", created_at="2026-01-01",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    return tmp_path / "home"


@pytest.fixture
def index(home: Path) -> Index:
    index = Index(f"sqlite:///{home / 'index.db'}")
    index.save_run(RUN)
    index.save_evaluation(CLEAN)
    return index


def mmcoa(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_the_table_goes_to_stdout(index: Index) -> None:
    result = mmcoa("--task", "iid")
    assert result.exit_code == 0 and result.stderr == ""
    assert "clip, zero-shot" in result.stdout and "88.00" in result.stdout and "88.56" in result.stdout
    assert not any(line.endswith(" ") for line in result.stdout.splitlines())


def test_json_is_one_document(index: Index) -> None:
    document = json.loads(mmcoa("--json").stdout)
    (row,) = document["rows"]
    assert (document["task"], row["value"], row["paper"], row["seed"]) == ("iid", 0.88, 0.8856, 0)
    assert json.loads(mmcoa("--format", "json").stdout) == document
    assert json.loads(mmcoa("--json", "--no-paper").stdout)["rows"][0]["paper"] is None


@pytest.mark.parametrize(
    ("format", "begins"), [("markdown", "### cifar10"), ("latex", "% needs"), ("csv", "method,model,source")]
)
def test_the_other_formats(index: Index, format: str, begins: str) -> None:
    result = mmcoa("--format", format)
    assert result.stdout.startswith(begins) and result.stdout.endswith("\n") and "\x1b" not in result.stdout


def test_output_goes_to_a_file(index: Index, tmp_path: Path) -> None:
    target = tmp_path / "out" / "table.md"
    result = mmcoa("--format", "markdown", "--output", str(target))
    assert result.exit_code == 0 and result.stdout == "" and str(target) in result.stderr.replace("\n", "")
    assert target.read_text(encoding="utf8") == mmcoa("--format", "markdown").stdout


def test_output_and_json_do_both(index: Index, tmp_path: Path) -> None:
    result = mmcoa("--json", "--output", str(tmp_path / "rows.csv"), "--format", "csv")
    assert len(json.loads(result.stdout)["rows"]) == 1
    assert (tmp_path / "rows.csv").read_text(encoding="utf8").startswith("method,")


def test_output_never_replaces_a_folder(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    assert mmcoa("--output", str(folder)).exit_code == 2
    assert (folder / "precious").read_text() == "kept"


def test_an_empty_index_says_what_to_type() -> None:
    error = mmcoa("--task", "iid").exception
    assert isinstance(error, UserError) and "holds no result for task iid yet" in str(error)
    assert "mmcoa demo" in error.hint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--format", "pdf"), "--format pdf is unknown"), (("--task", "idd"), "there is no task called 'idd'")],
)
def test_what_is_unknown_is_named(index: Index, arguments: tuple[str, ...], says: str) -> None:
    error = mmcoa(*arguments).exception
    assert isinstance(error, UserError) and says in str(error)


def test_every_example_is_a_command(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = [line.split("[/]")[0].removeprefix("[bold]") for line in report.EXAMPLES.split("\n\n")]
    for example in examples:
        result = mmcoa(*example.removeprefix("mmcoa report ").split())
        assert result.exit_code == 0, result.exception
