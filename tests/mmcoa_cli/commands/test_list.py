"""`mmcoa list`: everything there is to choose from, in words and as JSON, without loading anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from mmcoa_cli import catalog, listing
from mmcoa_cli.app import app
from mmcoa_cli.attacks import ATTACKS
from mmcoa_cli.commands.list import KINDS


def shown(*words: str, columns: int = 100) -> str:
    ended = CliRunner().invoke(app, ["list", *words], env={"COLUMNS": str(columns)})
    assert ended.exit_code == 0, ended.exception
    return ended.stdout


def document(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shown(kind, "--json"))[kind]
    return found


def test_what_can_be_listed_is_what_the_command_takes() -> None:
    assert set(listing.KINDS) == set(KINDS)


def test_a_kind_that_is_off_by_a_letter_is_asked_after() -> None:
    ended = CliRunner().invoke(app, ["list", "attack"], env={"COLUMNS": "200"})
    assert ended.exit_code == 2 and "Did you mean 'attacks'?" in ended.stderr and "Value error" not in ended.stderr
    assert shown("Attacks") == shown("attacks")


def test_attacks_have_their_source_and_their_settings_with_defaults() -> None:
    image = next(entry for entry in document("attacks") if entry["name"] == "image")
    assert image["title"] and "Madry" in image["source"]
    assert (image["settings"]["eps"], image["settings"]["steps"], image["settings"]["alpha"]) == ("1/255", 100, None)
    words = shown("attacks")
    assert all(name in words for name in ATTACKS) and "eps=1/255" in words and "random_start=true" in words


def test_methods_have_the_papers_settings_and_one_that_trains_nothing_has_none() -> None:
    found = {entry["name"]: entry["settings"] for entry in document("methods")}
    assert list(found) == list(catalog.methods()) and found["clip"] == {}
    assert (found["mmcoa"]["lr"], found["mmcoa"]["epochs"]) == (1e-6, 10)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("tables", catalog.tables), ("datasets", catalog.datasets), ("models", catalog.models), ("mlms", catalog.mlms),
    ],
)  # fmt: skip
def test_rows_of_the_catalog_are_all_there_and_say_what_they_are(kind: str, rows: Any) -> None:
    found = document(kind)
    assert [entry["name"] for entry in found] == list(rows())
    assert all(entry["title"] for entry in found)


@pytest.mark.parametrize("columns", [60, 120])
@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(kind: str, columns: int) -> None:
    lines = shown(kind, columns=columns).splitlines()
    assert all(len(line) <= columns for line in lines)
    begun = {line.split(" ")[0] for line in lines if not line.startswith(" ")}
    assert begun >= {entry["name"] for entry in document(kind)}


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['mmcoa', 'list', 'attacks']\nfrom mmcoa_cli.app import main\n"
        "try: main()\nexcept SystemExit: print({'torch', 'transformers', 'numpy', 'h5py'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "set()"
