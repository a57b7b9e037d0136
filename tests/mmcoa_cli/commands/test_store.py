"""`mmcoa store verify`, as typed: all of it is read again, what is damaged is named, with what to type."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from mmcoa_cli.commands import store
from mmcoa_cli.models.origins import PUBLISHED, Origin, Record
from mmcoa_cli.stored.listing import told
from mmcoa_cli.terminal.errors import explained
from store import verification
from store.checkpoints import save_checkpoint
from store.dataset_writing import DatasetWriter
from store.errors import UserError
from store.examples import ExampleSet
from store.index import Index
from store.keys import digest_file

app = typer.Typer()
app.add_typer(store.app, name="store")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one of each kind."""
    root = tmp_path / "home"
    monkeypatch.setenv("MMCOA_HOME", str(root))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    settings: dict[str, Any] = {"pixel_size": 4, "resize": None, "template": "a {}", "source": "here"}
    with DatasetWriter(root / "datasets" / "toy.h5", name="toy", class_names=("cat",), **settings) as writer:
        writer.add("test", b"no real image", 0)
    model(root / "models" / "clip" / "vit", "open_clip_model.safetensors")
    model(root / "models" / "mlm" / "bert", "model.safetensors")
    weights = {"w": torch.arange(100.0)}
    save_checkpoint(root / "checkpoints" / "mmcoa-abc" / "epoch-001", tensors=weights, spec={}, files={"a": "b"})
    examples(root).finish()
    Index(f"sqlite:///{root / 'index.db'}")
    return root


def model(folder: Path, weights: str) -> None:
    folder.mkdir(parents=True)
    (folder / weights).write_bytes(bytes(range(200)))
    files = {weights: digest_file(folder / weights)}
    (folder / "source.json").write_text(Record(folder.name, Origin(PUBLISHED, "hub"), files).text())


def examples(root: Path) -> ExampleSet:
    found = ExampleSet(root / "examples", {"key": 1}, n=2, block_size=2)
    for number in found.missing():
        found.write_block(number, {"label": np.arange(2)})
    return found


def verify(*words: str) -> tuple[list[dict[str, Any]], UserError | None]:
    ended = CliRunner().invoke(app, ["store", "verify", *words, "--json"])
    assert ended.exception is None or isinstance(ended.exception, UserError), ended.exception
    assert ended.exit_code == (0 if ended.exception is None else 1)
    return json.loads(ended.stdout)["checked"] if ended.stdout else [], ended.exception


def test_a_store_that_is_intact(home: Path) -> None:
    found, error = verify()
    kinds = ["dataset", "model", "masked LM", "checkpoint", "example set", "index"]
    assert [entry["kind"] for entry in found] == kinds
    assert error is None
    assert not any(entry["reason"] for entry in found)
    text = CliRunner().invoke(app, ["store", "verify"]).stdout
    assert [line.split("  ")[1].strip() for line in text.splitlines()] == kinds


DAMAGED = {
    "toy": ("datasets/toy.h5", "dataset", "mmcoa fetch toy"),
    "vit": ("models/clip/vit/open_clip_model.safetensors", "model", "mmcoa fetch"),
    "bert": ("models/mlm/bert/model.safetensors", "masked LM", "mmcoa fetch"),
    "mmcoa-abc": ("checkpoints/mmcoa-abc/epoch-001/model.safetensors", "checkpoint", "mmcoa train --resume mmcoa-abc"),
    "KEY": ("examples/KEY.h5", "example set", "the command that made it makes it again"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_named_with_what_to_type(home: Path, name: str) -> None:
    """Also where it is remembered as intact, as of a disk that rots."""
    file, kind, advice = DAMAGED[name]
    key = examples(home).key
    path, name = home / file.replace("KEY", key), name.replace("KEY", key)
    verify()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(255 - value for value in content[len(content) // 2 :])
    path.write_bytes(content)
    for place in path.parent.glob(".verified/*"):  # made to say that the altered file was verified
        entry, _ = json.loads(place.read_text())
        remembered = {**entry, "identity": verification._identity(path, None), "at": 2 * entry["at"]}
        place.write_text(json.dumps([remembered, verification.key_of(remembered)]))
    for words in ([], [name], [name[:8]] if kind == "example set" else []):
        found, error = verify(*words)
        assert [entry["kind"] for entry in found if entry["reason"]] == [kind]
        assert str(error).startswith(f"damaged: {kind} {name}")
        assert error is not None
        assert advice in error.hint


def test_an_intact_name_beside_a_damaged_one(home: Path) -> None:
    (home / "datasets" / "toy.h5").write_bytes(b"damaged")
    assert verify("vit", "mmcoa-abc")[1] is None


def test_a_damaged_index_is_named(home: Path) -> None:
    (home / "index.db").write_bytes(b"no database at all " * 100)
    assert "damaged: index" in str(verify("index.db")[1])


def test_a_name_that_nothing_has(home: Path) -> None:
    found, error = verify("toy", "nothing")
    assert found == []
    assert "nothing in the store is called 'nothing'" in str(error)


def test_an_empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "none"))
    assert verify() == ([], None)
    assert not (tmp_path / "none").exists()


def test_what_is_told_of_one_thing_is_in_lines_of_words() -> None:
    about = {
        "name": "a-run", "bytes": 2000, "run": {"seed": 0, "spec": {"betas": [0.9, 0.98], "part": ""}},
        "evaluations": [{"attack": "image", "dataset": "digits", "created_at": "2026-01-02T03", "evaluation": "abc"}],
    }  # fmt: skip
    screen = StringIO()
    Console(width=80, file=screen).print(told(about))
    assert [" ".join(line.split()) for line in screen.getvalue().splitlines()] == [
        "name a-run", "bytes 2.0 kB", "run seed: 0", "spec:", "betas: 0.9, 0.98",
        "evaluations image on digits, 2026-01-02: abc",
    ]  # fmt: skip


def test_an_archive_that_is_not_there_is_said_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a folder for temporary files, perhaps, and nothing was to be written there
    error = CliRunner().invoke(app, ["store", "import", "nope.zip"]).exception
    assert isinstance(error, OSError) and str(explained(error)) == "there is no file or folder nope.zip"
