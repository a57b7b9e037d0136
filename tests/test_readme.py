"""The README is executed: its console blocks print what they say, and the demo has the paper's shape."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from readme_output import README, as_shown, shown
from ready import Server, Started, variables

import mmcoa_cli
from mmcoa_cli.app import app


@pytest.fixture
def mmcoa(server: Callable[[], Server], tmp_path: Path) -> Callable[..., str]:
    """Standard output of `mmcoa WORDS` on a store of the test's own, by a process of its own."""

    def run(*words: str, **more: str) -> str:
        process = Started(server(), words, variables(MMCOA_HOME=str(tmp_path), **more), tmp_path)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    return run


ALIKE = (
    (r"-[0-9a-f]{8}\b", "-HASH"), (r"(\d+ min )?[\d.]+ s\b", "0 s"), (r"\d+", "0"), (r"─+", "─"), (r"\s+", " "),
)  # fmt: skip


def shape(text: str) -> str:
    """The text with every number as 0, and every line and run of blanks as one: machines round, and hurry, differently,
    and a column is as wide as its numbers."""
    for pattern, put in ALIKE:
        text = re.sub(pattern, put, text)
    return text.strip()


def test_every_command_is_one() -> None:
    """The verbs and options of all shell blocks are those that the command line has."""
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf8"), flags=re.DOTALL))
    lines = re.findall(r"(?:^|PYTHONPATH=\. )mmcoa (.*)$", shell, flags=re.MULTILINE)
    assert len(lines) > 20
    for line in lines:
        command, words = typer.main.get_command(app), shlex.split(line, comments=True)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_the_files_of_the_reading_order_are_there() -> None:
    named = re.findall(r"`([a-z_]+/[a-z_]+\.py)`", README.read_text(encoding="utf8"))
    package = Path(mmcoa_cli.__file__).parent
    assert len(named) > 15
    assert [name for name in named if not (package / name).exists() and not (package.parent / name).exists()] == []


@pytest.mark.slow(seconds=100)
def test_the_demo_has_the_papers_shape_and_needs_nothing_the_second_time(
    mmcoa: Callable[..., str], stand_ins: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(stand_ins / "models")
    first = json.loads(mmcoa("demo", "--json"))
    value = {(row["method"], row["attack"]): row["value"] for row in first["rows"]}
    clean = value["clip", "clean"]
    assert clean > 0.8
    assert value["clip", "image"] < clean / 2
    assert value["clip", "multimodal"] < clean / 2
    assert max(["clip", "ft-standard", "tecoa", "mmcoa"], key=lambda method: value[method, "multimodal"]) == "mmcoa"
    assert {prompt["dataset"] for prompt in first["prompts"]} == {"digits"}
    assert json.loads(mmcoa("demo", "--json"))["rows"] == first["rows"]


@pytest.mark.slow(seconds=30)
def test_the_three_lines_print_what_the_readme_says(mmcoa: Callable[..., str], stand_ins: Path, tmp_path: Path) -> None:
    """And what is typed after them, on the same store."""
    (tmp_path / "models").symlink_to(stand_ins / "models")
    assert [command.split()[1] for command, _ in shown()] == ["fetch", "train", "report", "runs"]
    for command, output in shown():
        assert shape(as_shown(mmcoa(*command.split()[1:]), tmp_path)) == shape(output), command


@pytest.mark.slow
def test_the_python_of_the_readme_prints_what_it_says(
    server: Callable[[], Server], stand_ins: Path, tmp_path: Path
) -> None:
    text = README.read_text(encoding="utf8")
    ((code, output),) = re.findall(r"```python\n(import torch.*?)```\n\n```text\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "models").symlink_to(stand_ins / "models")
    (tmp_path / "readme.py").write_text(code, encoding="utf8")
    env = variables(MMCOA_HOME=str(tmp_path))
    process = Started(server(), [], env, tmp_path, script=str(tmp_path / "readme.py"))
    out, err = process.communicate()
    assert (process.returncode, shape(out)) == (0, shape(output)), err
    withstands, values = float(out.split()[0]), re.findall(r"(?:clean|image) +([\d.]+)", out)
    assert withstands < 0.9 and float(values[1]) < float(values[0])


@pytest.mark.slow
def test_the_attack_of_the_readme_is_one(mmcoa: Callable[..., str], stand_ins: Path, tmp_path: Path) -> None:
    """Its file as it stands there, and the command below it."""
    text = README.read_text(encoding="utf8")
    (code,) = re.findall(r"```python\n(\"\"\"drift.*?)```", text, flags=re.DOTALL)
    (command,) = re.findall(r"^MMCOA_PLUGINS=drift PYTHONPATH=. mmcoa (.*)$", text, flags=re.MULTILINE)
    (tmp_path / "drift.py").write_text(code, encoding="utf8")
    (tmp_path / "models").symlink_to(stand_ins / "models")
    plugin = {"MMCOA_PLUGINS": "drift", "PYTHONPATH": f"{README.parent}:{tmp_path}"}
    clean, drift = json.loads(mmcoa(*command.split(), "--json", **plugin))["rows"]
    assert (drift["attack"], drift["eps"], drift["n"]) == ("drift", "4/255", 500)
    assert drift["value"] < clean["value"]
