"""The doctor names the command that finishes an example set, and that command does."""

from __future__ import annotations

import shlex

from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.health import Check, checks
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.jobs.unfinished import command_for, remember
from mmcoa_cli.settings import Home


def unfinished(home: Home) -> list[Check]:
    return [check for check in checks(home) if check.name == "unfinished examples"]


def test_the_command_for_an_unfinished_set_finishes_it(home: Home) -> None:
    options = {"limit": 10, "steps": 2, "eps": "2/255", "batch_size": 4, "seed": 3}
    spec = evaluation_spec("vit", ("digits",), ("image",), **options)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    examples = trial.examples("image")
    remember(trial, "image")
    examples.missing()  # as a command does that is killed then
    (found,) = unfinished(home)
    command = found.advice.split("finish them: ")[1].split("; or remove")[0]
    words = ["--checkpoint", "vit", "--dataset", "digits", "--attack", "image", "--steps", "2", "--eps", "2/255"]
    assert command.startswith("mmcoa evaluate ") and set(words) <= set(shlex.split(command))
    assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code == 0
    (again,) = trials_of(spec, find_subject(spec, home), home)
    assert again.examples("image").complete and not unfinished(home)
    assert command_for(examples.key, home) == ""


def test_what_stands_there_is_one_command(home: Home) -> None:
    place = home.runs / ".unfinished-examples"
    place.mkdir(parents=True)
    for key, text in {
        "a": "mmcoa evaluate x; rm -r /",
        "b": "rm -r /",
        "c": "mmcoa evaluate 'x",
        "d": "x" * 10**6,
    }.items():
        (place / key).write_text(text)
    assert command_for("a", home) == "mmcoa evaluate 'x;' rm -r /"
    assert [command_for(key, home) for key in "bcde"] == ["", "", "", ""]
