"""What is said where somebody types what they know from elsewhere, or has not what is needed."""

from __future__ import annotations

import json
import shlex

import pytest
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.preflight import resolve
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.settings import Home
from store.errors import UserError


def refused(command: str) -> UserError:
    error = CliRunner().invoke(app, shlex.split(command)).exception
    assert isinstance(error, UserError), error
    return error


def test_a_name_that_is_nearly_a_model_or_a_run_is_asked_after(home: Home) -> None:
    (home.clips / "clip-vit-cifar10").mkdir()
    error = refused("evaluate --checkpoint clip-vit-cifar --dataset digits --attack clean")
    assert error.hint == "did you mean clip-vit-cifar10?"
    assert refused("evaluate --checkpoint vi --dataset digits --attack clean").hint == "did you mean vit?"
    assert "mmcoa train makes a run" in refused("train --resume vit").hint  # no model goes on


def test_a_dataset_of_the_store_is_asked_after_once(home: Home) -> None:
    for name in ("birds", "digits"):
        (home.datasets / f"{name}.h5").touch()
    hint = refused("evaluate --checkpoint vit --dataset bird --attack clean").hint
    assert hint.startswith("did you mean birds?") and hint.count("birds") == 1
    assert refused("train --dataset digit").hint.startswith("did you mean digits?")


def test_a_method_is_known_in_any_case(home: Home) -> None:
    error = refused("train --method TeCoA --contrast class --dataset digits")
    assert "--method tecoa has no use for it" in str(error)


def test_without_a_masked_lm_there_is_a_way_that_needs_none(home: Home) -> None:
    test = evaluation_spec("vit", ("digits",), mlm="nowhere")
    tecoa, mmcoa = (train_spec(name, dataset="digits", model="vit", mlm="nowhere") for name in ("tecoa", "mmcoa"))
    said = {
        "--attack clean,image needs none": Job(evaluate=test),
        "--no-evaluate trains without one": Job(tecoa, test),
        "--method tecoa --no-evaluate": Job(mmcoa, test),
    }
    for hint, job in said.items():
        with pytest.raises(UserError, match="nowhere") as error:
            resolve(job, home)
        assert hint in error.value.hint


def test_the_attack_that_attacks_nothing_is_a_test(home: Home) -> None:
    error = refused("attack clean --checkpoint vit --dataset digits,stl10")
    assert "attacks nothing" in str(error)
    assert error.hint == "mmcoa evaluate --checkpoint vit --dataset digits,stl10 --attack clean"
    sized = refused("attack clean --checkpoint vit --dataset digits --limit 50 --seed 3 --eps 2/255")
    assert sized.hint == "mmcoa evaluate --checkpoint vit --dataset digits --attack clean --limit 50 --seed 3"


def test_sizes_of_models_are_known_before_they_are_here(home: Home) -> None:
    listed = json.loads(CliRunner().invoke(app, ["fetch", "--list", "--json"]).stdout)
    sizes = {row["name"]: row["bytes"] for row in (*listed["models"], *listed["mlms"])}
    # 151,277,313 and 109,514,298 parameters of four bytes each, and a header of less than 100 kB
    for name, parameters in {"ViT-B-32": 151_277_313, "bert-base-uncased": 110_106_428}.items():
        assert 0 < sizes[name] - 4 * parameters < 100_000, name
    assert sizes["tiny-clip"] is None and sizes["vit"] > 1000


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("4/256", "eps 1/64 (3.98/255)"),
        ("0.01", "eps 0.01 (2.55/255)"),
        ("2/255", "eps 2/255,"),
        ("0.5/255", "eps 0.5/255,"),
        ("0.00392156862745098", "eps 1/255,"),
    ],
)
def test_a_radius_says_what_it_is_of_255(typed: str, said: str) -> None:
    words = PgdSettings(eps=typed).in_words()
    assert said in words and words.count("(") == said.count("(")


def test_a_radius_in_the_other_norm_is_none_of_255() -> None:
    assert "eps 0.5," in PgdSettings(norm="l2", eps="0.5").in_words()


@pytest.mark.parametrize(
    ("command", "to_type"),
    [
        ("runs", "train --method mmcoa --shots 5"),
        ("report --task iid", "train --method mmcoa --shots 5"),
        ("train --shots 5", "fetch cifar100"),
        ("evaluate --checkpoint vit --dataset stl10", "fetch stl10"),
    ],
)
def test_a_hint_can_be_typed_as_it_stands(home: Home, command: str, to_type: str) -> None:
    """What follows the command is a comment to the shell."""
    assert shlex.split(refused(command).hint, comments=True) == ["mmcoa", *to_type.split()]
