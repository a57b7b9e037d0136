"""Several seeds and several checkpoints: one command, a run or a test of each, one table."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from mmcoa_cli.app import app
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

TEST = ("--dataset", "digits", "--attack", "clean", "--limit", "20")
TRAIN = ("--method", "ft-standard", "--dataset", "digits", "--model", "vit", "--shots", "1", "--epochs", "1")


def mmcoa(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_several_checkpoints_stand_in_one_table(home: Home) -> None:
    ended = mmcoa("evaluate", "--checkpoint", "vit,resnet", *TEST, "--json")
    assert [row["model"] for row in json.loads(ended.stdout)["rows"]] == ["vit", "resnet"]
    assert "1/2 test vit" in ended.stderr and "mmcoa evaluate --checkpoint resnet --dataset digits" in ended.stderr
    alone = mmcoa("evaluate", "--checkpoint", "resnet", *TEST, "--json")
    assert json.loads(alone.stdout)["rows"] == json.loads(ended.stdout)["rows"][1:] and "1/" not in alone.stderr


def test_several_seeds_are_several_runs(home: Home) -> None:
    ended = mmcoa("train", *TRAIN, "--seed", "0,1", "--no-evaluate", "--json")
    document = json.loads(ended.stdout)
    runs = {run.id: run.seed for run in Index(home.database_url).runs() if run.kind == "train"}
    assert [runs[run] for run in document["runs"]] == [0, 1] and document["run"] == document["runs"][-1]
    assert "--seed 1 --no-evaluate" in ended.stderr


@pytest.mark.parametrize("wrong", ["vit,nobody", "nobody,vit"])
def test_a_wrong_name_costs_nothing(home: Home, wrong: str) -> None:
    ended = mmcoa("evaluate", "--checkpoint", wrong, *TEST)
    assert isinstance(ended.exception, UserError) and "nobody" in str(ended.exception)
    assert not Index(home.database_url).results() and not list(home.examples.glob("*"))
