"""Options that would be ignored, and options given twice."""

from __future__ import annotations

import shlex

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli import catalog
from mmcoa_cli.app import app
from mmcoa_cli.commands import groups
from mmcoa_cli.commands import options as o
from mmcoa_cli.jobs.training_spec import unused
from mmcoa_cli.terminal.flattened import flattened
from store.errors import UserError


def refused(command: str) -> UserError:
    """The error that `mmcoa COMMAND` ends with."""
    error = CliRunner().invoke(app, shlex.split(command)).exception
    assert isinstance(error, UserError), error
    return error


@pytest.fixture(autouse=True)
def nowhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOA_HOME", f"{tmp_path}/home")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("evaluate --checkpoint x --attack clean --eps 2/255", ["--eps"]),
        ("evaluate --checkpoint x --attack text --steps 3 --norm l2", ["--steps", "--norm"]),
        ("evaluate --checkpoint x --attack clean,image --mlm m --no-collisions", ["--no-collisions"]),
        ("evaluate --checkpoint x --attack text --stop-when-fooled", ["--stop-when-fooled"]),
        ("attack image --checkpoint x --no-collisions", ["--no-collisions"]),
        ("attack text --checkpoint x --alpha 2/255", ["--alpha"]),
        ("train --method ft-standard --steps 20", ["--steps"]),
        ("train --method tecoa --contrast class", ["--contrast"]),
        ("train --method clip --lr 1 --epochs 3 --shots 5 --tune text", ["--lr", "--epochs", "--shots", "--tune"]),
        ("train --resume x --mlm m", ["--mlm"]),
        ("train --method ft-standard --no-evaluate --eps 2/255", ["--eps"]),
        ("train --resume x --lr 1 --seed 2 --method tecoa", ["--lr", "--seed", "--method"]),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_by_name(command: str, named: list[str]) -> None:
    error = refused(command)
    assert "would be ignored" in str(error) and all(option in str(error) for option in named) and error.hint


@pytest.mark.parametrize(
    "command",
    [
        "evaluate --checkpoint x --dataset digits --attack clean,multimodal --eps 2/255 --mlm m --steps 3",
        "train --method ft-standard --dataset digits --mlm m --eps 2/255",  # of the test that it ends with
        "attack image --checkpoint x --dataset digits --mlm m",  # the name of a model that is not needed
        "train --method mmcoa --dataset digits --contrast class --steps 3 --mlm m --tune text",
        "train --resume x --epochs 20 --processes 2 --no-evaluate --json",
    ],
)
def test_what_is_used_is_not_refused(command: str) -> None:
    assert "would be ignored" not in str(refused(command))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("evaluate --checkpoint a --checkpoint b", "--checkpoint"),
        ("evaluate --checkpoint a --dataset x --dataset=y", "--dataset"),
        ("train --seed 1 --method mmcoa --seed 2", "--seed"),
        ("report --task iid --task ood", "--task"),
        ("fetch x --from a --from b", "--from"),
    ],
)
def test_an_option_given_twice_is_refused(command: str, option: str) -> None:
    assert f"{option} is given twice" in str(refused(command))


@pytest.mark.parametrize("method", catalog.methods())
def test_a_test_after_training_uses_options_too(method: str) -> None:
    row = catalog.methods()[method]
    assert unused(row, tested=True) <= unused(row, tested=False)
    assert "lr" in unused(row, tested=True) or row.loss


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("--attack image -o max_candidates=5", "--attack image has no option 'max_candidates'", "random_start"),
        ("--attack clean -o eps=1/255", "--attack clean has no option 'eps'", "leave it out"),
        ("--attack text -o max_candidate=5", "no option 'max_candidate'", "did you mean max_candidates"),
        ("--attack text -o max_candidates=x", "'x' is not a whole number", "a whole number"),
        ("--attack text -o max_candidates", "is no NAME=VALUE", "max_candidates"),
        ("--attack text -o compat=release", "no option 'compat'", "min_score"),  # it is an option of every test
        ("--attack image --eps 2/255 -o eps=1/255", "--eps is given twice", "leave out -o eps"),
        ("-o steps=5 -o steps=6", "-o steps is given twice", "once"),
        ("--attack image -o norm=l7", "l7", "linf, l2"),
    ],
)
def test_what_a_test_has_no_option_for(words: str, error: str, hint: str) -> None:
    found = refused(f"evaluate --checkpoint x --dataset digits {words}")
    assert error in str(found) and hint in found.hint


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("--method ft-standard -o max_candidates=5", "no option 'max_candidates'", "schedule"),
        ("--method clip -o schedule=cosine", "no option 'schedule'", "leave it out"),
        ("--method tecoa -o schedule=linear", "'linear' is not one of constant, cosine", "constant, cosine"),
        ("--method tecoa -o betas=1", "is not 2 numbers", "as in A,B"),
        ("--method mmcoa --contrast class -o contrast=batch", "--contrast is given twice", "leave out"),
        ("--method tecoa --image-weight 1", "--image-weight would be ignored", "leave it out"),
        ("--method tecoa --optimizer lion", "'adam', 'adamw', 'sgd'", ""),
    ],
)
def test_what_a_method_has_no_option_for(words: str, error: str, hint: str) -> None:
    ended = CliRunner().invoke(app, shlex.split(f"train --dataset digits --no-evaluate {words}"))
    assert error in " ".join(f"{ended.exception} {ended.stderr}".replace("│", "").split())
    assert hint in getattr(ended.exception, "hint", "")


def test_only_what_is_typed_is_handed_on() -> None:
    """An attack of its own defaults keeps them."""
    handed: dict[str, object] = {}
    one = typer.Typer()

    @one.command()
    @flattened
    def command(context: typer.Context, attack: o.Attacks = o.ATTACKS, *, test: groups.Test) -> None:
        handed.update(test.chosen(context, attack, by="x"))

    words = "--attack image,text --steps 100 --seed 3 --stop-when-fooled -o max-candidates=5"
    assert CliRunner().invoke(one, shlex.split(words)).exit_code == 0
    assert handed == {"steps": 100, "seed": 3, "stop_when_fooled": True, "max_candidates": 5}


@pytest.mark.parametrize("value", ["inf", "nan", "0", "-1"])
def test_a_learning_rate_is_a_finite_number_above_zero(value: str) -> None:
    assert f"--lr {float(value)}" in str(refused(f"train --method tecoa --dataset digits --lr={value}"))
    assert "--hours" in str(refused(f"reproduce table1 --hours={value}"))


@pytest.mark.parametrize(
    ("command", "joined"),
    [
        ("evaluate --checkpoint x --attack clean, image, text --limit 5", "clean,image,text"),
        ("train --method tecoa, mmcoa", "tecoa,mmcoa"),
        ("train extra", ""),
    ],
)
def test_a_list_with_spaces_is_told_how_to_be_typed(command: str, joined: str) -> None:
    ended = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "200"})
    assert ended.exit_code == 2 and "extra argument" in ended.stderr
    assert ("without a space" in ended.stderr, joined in ended.stderr) == (bool(joined), True)
