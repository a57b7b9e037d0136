"""What a shell completes: choices, rows of the catalog, and what lies in the store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcoa_cli import catalog
from mmcoa_cli.app import app
from mmcoa_cli.models.origins import RECORD

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What bash is given for a line that ends where the cursor is."""
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))

    def run(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_MMCOA_COMPLETE": "complete_bash"}
        ended = CliRunner().invoke(app, [], prog_name="mmcoa", env=words)
        assert ended.exit_code == 0 and not ended.stderr, ended.exception
        return ended.stdout.split()

    return run


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mmcoa ev", ["evaluate"]),
        ("mmcoa evaluate --norm ", ["linf", "l2"]),
        ("mmcoa evaluate --precision b", ["bf16"]),
        ("mmcoa evaluate --compat re", ["release"]),
        ("mmcoa evaluate --attack im", ["image"]),
        ("mmcoa evaluate --attack clean,te", ["clean,text"]),
        ("mmcoa evaluate --dataset cifar10,d", ["cifar10,digits", "cifar10,dtd"]),
        ("mmcoa evaluate --mlm ", [*catalog.mlms()]),
        ("mmcoa attack mult", ["multimodal"]),
        ("mmcoa train --method ", [*catalog.methods()]),
        ("mmcoa train --tune ", ["both", "image", "text"]),
        ("mmcoa train --contrast c", ["class"]),
        ("mmcoa report --task ", [*catalog.tables()]),
        ("mmcoa report --format la", ["latex"]),
        ("mmcoa reproduce fig", [name for name in catalog.tables() if name.startswith("fig")]),
        ("mmcoa reproduce table1 al", ["all"]),
        ("mmcoa reproduce table1 --preset q", ["quick"]),
        ("mmcoa fetch --kind ", ["dataset", "clip", "mlm"]),
        ("mmcoa fetch bert", ["bert-base-uncased"]),
        ("mmcoa list a", ["attacks"]),
        ("mmcoa bench st", ["store", "start"]),
    ],
)
def test_choices_are_completed(complete: Complete, line: str, found: list[str]) -> None:
    assert complete(line) == found


def test_names_are_those_of_the_catalog_and_of_the_store(complete: Complete, tmp_path: Path) -> None:
    assert complete("mmcoa train --model ") == [*catalog.models()]
    for folder in ("datasets", "checkpoints/mmcoa-digits-5shot-1", "models/clip/ViT-B-16-laion", "models/mlm/own"):
        (tmp_path / "home" / folder).mkdir(parents=True)
    (tmp_path / "home/datasets/birds.h5").touch()
    record = tmp_path / "home/models/clip/ViT-B-16-laion" / RECORD
    record.write_text(json.dumps({"name": "ViT-B-16:laion", "origin": "published"}), encoding="utf8")
    assert complete("mmcoa train --dataset b") == ["birds"]
    assert complete("mmcoa show bi") == ["birds"]
    assert complete("mmcoa train --model ViT-B-1") == ["ViT-B-16:laion"]
    assert complete("mmcoa evaluate --mlm o") == ["own"]
    assert complete("mmcoa train --resume m") == ["mmcoa-digits-5shot-1"]
    assert complete("mmcoa evaluate --checkpoint mmcoa-") == ["mmcoa-digits-5shot-1"]
    assert set(complete("mmcoa store verify ")) == {"birds", "ViT-B-16:laion", "own", "mmcoa-digits-5shot-1"}


def test_a_store_that_cannot_be_read_leaves_the_catalog(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "home/models/clip/broken"
    broken.mkdir(parents=True)
    (broken / RECORD).write_text("{", encoding="utf8")
    assert complete("mmcoa train --model ") == [*catalog.models(), "broken"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "file"))
    assert complete("mmcoa evaluate --checkpoint ") == [*catalog.models()]


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from mmcoa_cli.app import main\ntry: main()\nexcept SystemExit: pass\n"
        "print({'torch', 'transformers', 'numpy', 'h5py', 'sqlalchemy'} & set(sys.modules))"
    )
    line = {"COMP_WORDS": "mmcoa evaluate --checkpoint ", "COMP_CWORD": "3", "_MMCOA_COMPLETE": "complete_bash"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env={**line, "MMCOA_HOME": str(tmp_path)}, capture_output=True, text=True,
        check=True, cwd=Path(__file__).parents[3],
    ).stdout  # fmt: skip
    assert "ViT-B-32" in printed and printed.splitlines()[-1] == "set()"
