"""Of which kind a name is, and what is listed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import Kind
from mmcoa_cli.commands.known import everything
from mmcoa_cli.inventory import fetch, kind_of, listing
from mmcoa_cli.settings import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cifar10", "dataset"), ("ViT-B-32", "clip"), ("tiny-mlm", "mlm"), ("ViT-B-16:openai", "clip"),
        ("hf-hub:org/name", "clip"), ("google-bert/bert-base-cased", "mlm"), ("mybirds", "dataset"),
    ],
)  # fmt: skip
def test_kinds_by_name(home: Home, name: str, kind: str) -> None:
    assert kind_of(name, home, None) is Kind(kind)


@pytest.mark.parametrize(
    ("file", "kind"), [("open_clip_config.json", "clip"), ("config.json", "mlm"), ("train/cat/1.png", "dataset")]
)
def test_kinds_by_what_a_folder_holds(home: Home, tmp_path: Path, file: str, kind: str) -> None:
    (tmp_path / "x" / file).parent.mkdir(parents=True)
    (tmp_path / "x" / file).touch()
    assert kind_of("mine", home, tmp_path / "x") is Kind(kind)


@pytest.mark.parametrize(("file", "kind"), [("w.pt", "clip"), ("w.safetensors", "clip"), ("w.tar.gz", "dataset")])
def test_kinds_by_what_a_file_is_called(home: Home, tmp_path: Path, file: str, kind: str) -> None:
    assert kind_of("mine", home, tmp_path / file) is Kind(kind)


def test_everything_of_the_catalog_is_listed_without_a_store(home: Home) -> None:
    found = listing(home)
    assert [row["name"] for table in found.values() for row in table] == everything()
    assert not any(row["here"] for table in found.values() for row in table)
    assert not home.root.exists()
    (cifar10,) = (row for row in found["datasets"] if row["name"] == "cifar10")
    assert cifar10 == {
        "name": "cifar10", "classes": 10, "splits": {"train": 50_000, "test": 10_000}, "bytes": 170_498_071,
        "here": False, "part": "",
    }  # fmt: skip


def test_what_is_here_is_listed_with_its_size(home: Home) -> None:
    first, second = fetch("digits", home), fetch("digits", home)
    assert (first.new, second.new) == (True, False)
    assert first.path.stat().st_size == first.bytes == second.bytes
    (digits,) = (row for row in listing(home)["datasets"] if row["name"] == "digits")
    assert digits["here"]
    assert digits["bytes"] == first.bytes


def test_own_and_damaged_entries_are_listed(home: Home) -> None:
    home.datasets.mkdir(parents=True)
    (home.datasets / "birds.h5").write_bytes(b"damaged")
    (home.clips / "mine").mkdir(parents=True)
    (home.clips / "mine" / "source.json").write_text(json.dumps({"name": "hf-hub:org/mine", "origin": "published"}))
    (home.mlms / "bare").mkdir(parents=True)
    found = listing(home)
    assert found["datasets"][-1] == {
        "name": "birds",
        "classes": 0,
        "splits": {},
        "bytes": None,
        "here": False,
        "part": "",
    }
    assert (found["models"][-1]["name"], found["models"][-1]["origin"]) == ("hf-hub:org/mine", "published")
    assert (found["mlms"][-1]["name"], found["mlms"][-1]["origin"]) == ("bare", "own")


def test_listing_needs_no_torch(home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from mmcoa_cli.inventory import listing; "
        f"from mmcoa_cli.settings import Home; listing(Home(Path({str(home.root)!r}), '')); "
        "print({'torch', 'transformers', 'open_clip', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(catalog.__file__).parents[2], capture_output=True)
    assert done.stdout.decode().strip() == "set()"
