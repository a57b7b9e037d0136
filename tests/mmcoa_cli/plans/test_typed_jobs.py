"""Several seeds and several checkpoints: one command, a run or a test of each, one table."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_grid_is_a_run_of_each_and_one_table(home: Home) -> None:
    """Each method takes the options that it has; what is there is not trained again."""
    grid = ("--dataset", "digits", "--model", "vit", "--epochs", "1", "--method", "ft-standard,TeCoA", "--steps", "1")
    first = mmcoa("train", *grid, "--shots", "1", "--lr", "1e-5", "--no-evaluate", "--json")
    done = json.loads(first.stdout)["runs"]
    assert [run.rsplit("-", 1)[0] for run in done] == ["ft-standard-digits-1shot", "tecoa-digits-1shot"]
    assert "--steps is not an option of ft-standard" in first.stderr
    more = mmcoa("train", *grid, "--shots", "1,2", "--lr", "1e-5,1e-4", "--no-evaluate", "--json")
    runs = json.loads(more.stdout)["runs"]
    assert len(set(runs)) == 8 and set(done) < set(runs)
    assert all(f"run {run} is in the store already" in more.stderr for run in done)
    assert "8/8 train tecoa, 2-shot on digits, lr 0.0001, seed 0" in " ".join(more.stderr.split())
    assert len([run for run in Index(home.database_url).runs() if run.kind == "train"]) == 8


def test_what_fails_of_a_grid_leaves_the_others(home: Home) -> None:
    """A learning rate that ends in no number is told, and the run after it is trained."""
    ended = mmcoa("train", *TRAIN[:-1], "3", "--lr", "1e6,1e-6", "--no-evaluate")
    assert isinstance(ended.exception, UserError) and "1 of 2 steps failed" in str(ended.exception)
    assert "lr 1000000.0" in str(ended.exception) and ended.stdout.startswith("run ft-standard-digits-1shot-")
    assert [run.status for run in Index(home.database_url).runs() if run.kind == "train"].count("complete") == 1


def test_too_many_runs_are_refused(home: Home) -> None:
    many = ",".join(map(str, range(40)))
    ended = mmcoa("train", *TRAIN, "--seed", many, "--lr", ",".join(f"1e-{n}" for n in range(30)))
    assert isinstance(ended.exception, UserError) and "1,200 runs" in str(ended.exception)


def test_a_run_prints_the_file_that_finds_it_again(home: Home, tmp_path: Path) -> None:
    options = ("--lr", "1e-5", "--batch-size", "7", "-o", "betas=0.5,0.75", "--seed", "3")
    run = json.loads(mmcoa("train", *TRAIN, *options, "--no-evaluate", "--json").stdout)["run"]
    file = tmp_path / "run.toml"
    file.write_text(mmcoa("runs", run, "--toml").stdout, encoding="utf8")
    again = mmcoa("train", "--config", str(file), "--no-evaluate", "--json")
    assert json.loads(again.stdout)["run"] == run and f"run {run} is in the store already" in again.stderr
    other = mmcoa("train", "--config", str(file), "--no-evaluate", "--json", "--seed", "4")
    assert json.loads(other.stdout)["run"] != run
