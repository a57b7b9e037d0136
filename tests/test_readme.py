"""The README is executed: its console block prints what it says, and the demo has the paper's shape."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")


@pytest.fixture(scope="module")
def mmcoa(tmp_path_factory):
    """Runs a verb in a store of this module's own, as a shell would; returns what it printed on standard output."""
    environment = {**os.environ, "MMCOA_HOME": str(tmp_path_factory.mktemp("home")), "COLUMNS": "100"}
    environment.pop("MMCOA_DATABASE_URL", None)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mmcoa_cli", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def shape(text: str) -> str:
    """The text with every number as 0 and every run of blanks as one: machines round differently, and have other
    folders."""
    for pattern, shown in (
        (r"\S*/datasets/", "STORE/"), (r"-[0-9a-f]{8}\b", "-HASH"), (r"\d+", "0"), (r"\s+", " "),
    ):  # fmt: skip
        text = re.sub(pattern, shown, text)
    return text.strip()


def console_block() -> list[tuple[str, str]]:
    """(command, output) of the README's console block."""
    (block,) = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [tuple(part.split("\n", 1)) for part in block.split("$ ")[1:]]


@pytest.mark.slow
def test_the_three_lines_print_what_the_readme_says(mmcoa):
    for command, output in console_block():
        beginning, left_out, _ = shape(output).partition(" [... the table below ...]")
        printed = shape(mmcoa(*command.split()[1:]))
        assert printed.startswith(beginning) if left_out else printed == beginning, command


@pytest.mark.slow
def test_the_demo_has_the_papers_shape_and_needs_nothing_the_second_time(mmcoa):
    first = json.loads(mmcoa("demo", "--json"))
    value = {(row["method"], row["attack"]): row["value"] for row in first["rows"]}
    clean = value["clip", "clean"]
    assert clean > 0.8
    assert value["clip", "image"] < clean / 2
    assert value["clip", "multimodal"] < clean / 2
    assert max(["clip", "ft-standard", "tecoa", "mmcoa"], key=lambda method: value[method, "multimodal"]) == "mmcoa"
    assert {prompt["dataset"] for prompt in first["prompts"]} == {"digits"}
    assert json.loads(mmcoa("demo", "--json"))["rows"] == first["rows"]
