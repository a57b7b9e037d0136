"""Names that would be obeyed by a terminal do not enter the store, wherever they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.catalog import Kind
from mmcoa_cli.inventory import fetch
from mmcoa_cli.settings import Home
from store.errors import UserError

Make = Callable[..., Any]
HOSTILE = ["cat\nerror: all is lost", "cat\x1b[31m", "\u202etac", "c\u200bat", "c\x85at", "cat\udcff"]


@pytest.fixture
def pets(image: Make, laid: Make) -> Callable[[str], Path]:
    """A folder of two classes, of which one has the given name."""

    def make(name: str) -> Path:
        folder: Path = laid("pets", {f"{split}/{pet}/1.png": image(1) for split in ("train", "test") for pet in "ab"})
        for split in ("train", "test"):
            (folder / split / "b").rename(folder / split / name)
        return folder

    return make


def refused(home: Home, source: Path, **options: Any) -> str:
    with pytest.raises(UserError, match="do not print") as raised:
        fetch("pets", home, source=source, kind=Kind.dataset, **options)
    assert not (home.datasets / "pets.h5").exists()
    return str(raised.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder(home: Home, pets: Callable[[str], Path], name: str) -> None:
    refused(home, pets(name))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_of_class_names(home: Home, pets: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps(["dog", name]), encoding="utf8")
    refused(home, pets("b"), class_names=names)


def test_a_line_is_ended_by_a_newline_only(home: Home, pets: Callable[[str], Path], tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes("\ufeffdog\r\ncat\n".encode())
    fetch("pets", home, source=pets("b"), class_names=names, kind=Kind.dataset)
    names.write_bytes("dog\ncat\x85mouse\n".encode())
    with pytest.raises(UserError, match="do not print"):
        fetch("others", home, source=tmp_path / "pets", class_names=names, kind=Kind.dataset)


def test_a_template(home: Home, pets: Callable[[str], Path]) -> None:
    refused(home, pets("b"), template="a photo\x1b[31m of a {}")


@pytest.mark.parametrize("kind", Kind)
def test_a_name_on_the_command_line(home: Home, pets: Callable[[str], Path], kind: Kind) -> None:
    with pytest.raises(UserError, match="do not print"):
        fetch("pets\x1b[31m", home, source=pets("b"), kind=kind)
