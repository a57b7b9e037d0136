"""What `--help` says: of every command and option, in sentences with the verb first, and examples that are commands."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli import catalog
from mmcoa_cli.app import VERBS, app
from mmcoa_cli.app import verb as module_of
from mmcoa_cli.attacks import ATTACKS
from mmcoa_cli.commands import known
from mmcoa_cli.jobs.training_spec import PRECISIONS
from mmcoa_cli.plans.request import PRESETS
from mmcoa_cli.reports.report import FORMATS
from mmcoa_cli.terminal.literals import Format, Precision, Preset

PROGRAM: Any = typer.main.get_command(app)
NO_VERB = {"A", "All", "An", "How", "Of", "One", "Only", "Side", "Size", "The", "What", "Where", "Which"}
EXAMPLES = [line for name in VERBS for line in module_of(name).EXAMPLES]


def commands(one: Any = PROGRAM, name: str = "mmcoa") -> Iterator[tuple[str, Any]]:
    """Every command and group, by how it is typed."""
    yield name, one
    for verb, below in getattr(one, "commands", {}).items():
        yield from commands(below, f"{name} {verb}")


OPTIONS = [(f"{name} {option.name}", option) for name, one in commands() for option in one.params]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[name for name, _ in OPTIONS])
def test_an_option_says_what_it_does(name: str, option: Any) -> None:
    assert option.help, name
    assert option.help.endswith((".", '".')) and option.help.split()[0] not in NO_VERB, option.help
    assert "default:" not in option.help


@pytest.mark.parametrize(("name", "one"), [*commands()], ids=lambda part: part if isinstance(part, str) else "")
def test_a_command_says_what_it_does_and_shows_how(name: str, one: Any) -> None:
    assert one.help and one.help.split()[0] not in NO_VERB and one.help.rstrip(")").endswith(".")
    assert name in one.epilog and "# " in one.epilog


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_has_the_first_line_of_each(verb: str) -> None:
    first = inspect.cleandoc(PROGRAM.commands[verb].help).split("\n\n")[0]
    assert VERBS[verb] == " ".join(first.split())


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_can_be_typed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed, and not run."""
    (tmp_path / "run.toml").write_text("epochs = 1\n", encoding="utf8")
    monkeypatch.chdir(tmp_path)
    command, words = PROGRAM, shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("mmcoa", words)


@pytest.mark.parametrize(
    ("verb", "rows"),
    [
        ("report", catalog.tables()), ("report", ATTACKS), ("reproduce", dict.fromkeys(known.reproducible())),
        ("attack", ATTACKS), ("evaluate", ATTACKS), ("train", catalog.methods()), ("fetch", catalog.tables()),
    ],
)  # fmt: skip
def test_help_lists_what_there_is_to_choose_from(verb: str, rows: dict[str, object]) -> None:
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout
    assert all(f" {name}" in shown for name in rows)


def test_the_formats_that_help_lists_are_those_that_can_be_written() -> None:
    assert set(get_args(Format)) == set(FORMATS)
    assert set(get_args(Preset)) == set(PRESETS)
    assert set(get_args(Precision)) == set(PRECISIONS)
