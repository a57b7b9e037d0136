"""`mmcoa report`, as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result as Ended
from PIL import Image
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.commands import report
from store.errors import UserError
from store.index import Index
from store.schema import Result, Run

RUN = Run(
    id="clip-ViT-B-32", kind="zero-shot", method="clip", model="ViT-B-32", model_origin="published", weights=None,
    source="", shots="0",
    seed=0, compat="none", status="complete", spec="{}", created_at="2026-01-01", finished_at="2026-01-01",
)  # fmt: skip
CLEAN = Result(
    evaluation="e1", metric="clean_accuracy", run_id=RUN.id, dataset="cifar10", task="classification", attack="clean",
    value=0.88, low=0.87, high=0.89, n=10_000, threat={}, setting={"compat": "none", "precision": "fp32"},
    examples="e" * 40, weights=None, seed=0, seconds=1.0, device="cpu", version="", created_at="2026-01-01",
)  # fmt: skip
PGD = {"norm": "linf", "eps": "1/255", "alpha": "1/255", "steps": 100, "stop_when_fooled": False}
IMAGE = replace(
    CLEAN, evaluation="e2", attack="image", metric="robust_accuracy", value=0.1, low=0.09, high=0.11,
    threat={"image": PGD},
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
    index.save_results([CLEAN])
    return index


def mmcoa(*arguments: str) -> Ended:
    return CliRunner().invoke(app, ["report", *arguments], catch_exceptions=True)


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
    ("format", "begins"),
    [("markdown", "### cifar10"), ("latex", "% needs"), ("csv", "method,model,source"), ("html", "<!DOCTYPE html>")],
)
def test_the_other_formats(index: Index, format: str, begins: str) -> None:
    result = mmcoa("--format", format)
    assert result.stdout.startswith(begins) and result.stdout.endswith("\n") and "\x1b" not in result.stdout


def test_output_goes_to_a_file(index: Index, tmp_path: Path) -> None:
    target = tmp_path / "table.md"
    result = mmcoa("--output", str(target))
    assert result.exit_code == 0 and result.stdout == "" and str(target) in result.stderr.replace("\n", "")
    assert target.read_text(encoding="utf8") == mmcoa("--format", "markdown").stdout


@pytest.mark.parametrize(
    ("ending", "begins"),
    [
        ("md", "### cifar10"), ("tex", "% needs"), ("csv", "method,model"), ("json", "{"), ("html", "<!DOCTYPE html>"),
        ("txt", "Table I"),
    ],
)  # fmt: skip
def test_a_file_is_written_as_its_name_ends(index: Index, tmp_path: Path, ending: str, begins: str) -> None:
    target = tmp_path / f"report.{ending}"
    assert mmcoa("--output", str(target)).exit_code == 0
    assert target.read_text(encoding="utf8").startswith(begins)
    figure = tmp_path / f"figure.{ending}"
    assert mmcoa("--task", "fig4", "--attack", "clean", "--output", str(figure)).exit_code == 0
    assert figure.stat().st_size > 100


@pytest.mark.parametrize("name", ["report", "report.xlsx", "report.png", "nowhere/report.csv"])
def test_a_file_that_cannot_be_written_is_refused_and_nothing_is_made(index: Index, tmp_path: Path, name: str) -> None:
    error = mmcoa("--output", str(tmp_path / name)).exception
    assert isinstance(error, UserError) and error.hint
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_format_that_would_be_ignored_is_refused(index: Index) -> None:
    error = mmcoa("--json", "--format", "csv").exception
    assert isinstance(error, UserError) and "--format csv would be ignored" in str(error)


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


def test_every_example_is_a_command(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for attack in ("image", "multimodal"):
        index.save_results([replace(IMAGE, evaluation=attack, attack=attack)])
    for example in report.EXAMPLES:
        result = mmcoa(*example.removeprefix("mmcoa report ").split())
        assert result.exit_code == 0, result.exception


def test_attacks_restrict_a_table(index: Index) -> None:
    index.save_results([IMAGE])
    assert {row["attack"] for row in json.loads(mmcoa("--json").stdout)["rows"]} == {"clean", "image"}
    assert {row["attack"] for row in json.loads(mmcoa("--json", "--attack", "image").stdout)["rows"]} == {"image"}
    printed = mmcoa("--task", "ood", "--attack", "clean, image").stdout
    assert printed.index("clean (Table III)") < printed.index("image attack")
    assert "Clean accuracy, in percent" in printed and "Robust accuracy under the image attack" in printed


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (("--task", "ood", "--attack", "text"), "no result for task ood under the attack text yet", "mmcoa train"),
        (("--task", "fig3", "--attack", "clean", "--output", "x.gif"), "x.gif ends in no picture", ".png, .pdf, .svg"),
    ],
)
def test_what_cannot_be_shown_is_told_with_what_to_type(
    index: Index, arguments: tuple[str, ...], says: str, hint: str
) -> None:
    error = mmcoa(*arguments).exception
    assert isinstance(error, UserError) and says in str(error) and hint in error.hint


def test_what_is_missing_is_below_the_table_and_in_the_json(index: Index) -> None:
    printed = mmcoa("--task", "ood", "--attack", "clean").stdout
    assert "not in the store: mmcoa fetch imagenet" in printed
    (command,) = (line for line in printed.splitlines() if "mmcoa evaluate" in line)
    assert command.endswith("caltech101,caltech256 --attack clean")  # to copy: never broken
    found = json.loads(mmcoa("--task", "ood", "--attack", "clean", "--json").stdout)["missing"]
    assert all(list(entry) == ["run", "dataset", "attack", "command"] for entry in found)
    assert sum(entry["run"] == RUN.id for entry in found) == 14
    for format in ("markdown", "latex", "csv"):
        assert "mmcoa fetch" not in mmcoa("--task", "ood", "--attack", "clean", "--format", format).stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def pictured(index: Index) -> None:
    index.save_results([IMAGE])


def test_a_figure_is_drawn_here_and_its_rows_are_printed(pictured: None, folder: Path) -> None:
    result = mmcoa("--task", "fig4")
    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines()[0] == "drawn: fig4.png" and "10.00" in result.stdout
    with Image.open(folder / "fig4.png") as picture:
        assert picture.format == "PNG"


def test_a_figure_goes_where_it_is_told(pictured: None, folder: Path) -> None:
    result = mmcoa("--task", "fig3", "--output", "one.pdf")
    assert result.stdout.splitlines()[0] == "drawn: one.pdf"
    assert (folder / "one.pdf").read_bytes().startswith(b"%PDF-")
    result = mmcoa("--task", "fig3", "--output", "two.png", "--json")
    assert json.loads(result.stdout)["task"] == "fig3" and (folder / "two.png").exists()


def test_the_rows_of_a_figure_without_a_picture(pictured: None, folder: Path) -> None:
    rows = json.loads(mmcoa("--task", "fig3", "--json").stdout)["rows"]
    assert [row["dataset"] for row in rows] == ["cifar10", "average"]
    assert mmcoa("--task", "fig3", "--format", "csv").stdout.count("\n") == 3
    result = mmcoa("--task", "fig3", "--format", "csv", "--output", "rows.csv")
    assert result.stdout == "" and (folder / "rows.csv").read_text(encoding="utf8").count("\n") == 3
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]


def test_a_report_may_show_some_of_what_there_is(index: Index) -> None:
    index.save_results([IMAGE, replace(CLEAN, evaluation="e3", dataset="cifar100", created_at="2026-02-01")])
    rows = json.loads(mmcoa("--task", "iid", "--json", "--dataset", "cifar10").stdout)["rows"]
    assert {row["dataset"] for row in rows} == {"cifar10"} and len(rows) == 2
    assert "missing" not in mmcoa("--task", "iid", "--since", "2026-01-15").stdout
    assert "cifar10 " not in mmcoa("--task", "iid", "--since", "2026-01-15").stdout
    ended = mmcoa("--task", "iid", "--method", "mmcao")
    assert ended.exit_code == 1 and "--method mmcao" in str(ended.exception)
