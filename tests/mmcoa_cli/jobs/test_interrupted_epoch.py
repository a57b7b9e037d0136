"""A training that a signal ends within an epoch goes on at the step where it was, to the same weights."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcoa_cli.jobs.clock import Clock, Losses
from mmcoa_cli.jobs.interrupted_epoch import saved_when_interrupted
from mmcoa_cli.jobs.job import Job, command_of
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import INTERRUPTED, path_of
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.signals import Stopped
from store.checkpoints import load_spec, load_tensors
from store.index import Index

from .conftest import SMALL_RUN

SPEC = train_spec("tecoa", **{**SMALL_RUN, "epochs": 2, "batch_size": 4})  # two epochs of five steps
PLUGIN = """
import os, signal
from mmcoa_cli import defences
from mmcoa_cli.defences import tecoa

calls = 0

def loss(step):
    global calls
    calls += 1
    if calls == int(os.environ["AT"]):
        os.kill(os.getpid(), getattr(signal, os.environ["BY"]))
    return tecoa.loss(step)

defences.register("tecoa", loss)
"""


@pytest.fixture
def train(typed: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Trains SPEC in a store; in the loss of its step `at` a signal arrives."""
    (tmp_path / "interrupting.py").write_text(PLUGIN)

    def start(home: Home, at: int, by: str = "SIGTERM") -> Any:
        words = shlex.split(command_of(Job(SPEC)))[1:]
        variables = {"PYTHONPATH": str(tmp_path), "MMCOA_PLUGINS": "interrupting", "AT": str(at), "BY": by}
        return typed(home, *words, **variables).process

    return start


def the_run(home: Home) -> Path:
    (folder,) = home.checkpoints.iterdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("at", "epoch", "steps"), [(4, 1, 3), (7, 2, 1)])
def test_it_goes_on_after_the_last_step_that_was_taken(
    new_home: Callable[[str], Home], train: Callable[..., Any], at: int, epoch: int, steps: int
) -> None:
    through, interrupted = new_home("through"), new_home("interrupted")
    assert train(through, 0).wait(600) == 0
    process = train(interrupted, at)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 143
    assert f"saved after step {steps} of epoch {epoch}" in said
    spec = load_spec(the_run(interrupted) / INTERRUPTED)
    assert (spec["epoch"], len(spec["losses"])) == (epoch, steps)
    assert train(interrupted, 0).wait(600) == 0
    one, other = (load_tensors(path_of(the_run(home), 2)) for home in (through, interrupted))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
    rows = [Index(home.database_url).epochs(the_run(home).name) for home in (through, interrupted)]
    assert [row.loss for row in rows[0]] == [row.loss for row in rows[1]]
    assert not (the_run(interrupted) / INTERRUPTED).exists()


@pytest.mark.slow
def test_twice_in_one_epoch_and_before_its_first_step(
    new_home: Callable[[str], Home], train: Callable[..., Any]
) -> None:
    through, interrupted = new_home("through"), new_home("interrupted")
    assert train(through, 0).wait(600) == 0
    for at, taken in ((1, 0), (3, 2), (2, 3)):  # Ctrl-C in its first, third and second step
        assert train(interrupted, at, "SIGINT").wait(600) == 130
        saved = [len(load_spec(midway)["losses"]) for midway in interrupted.checkpoints.glob(f"*/{INTERRUPTED}")]
        assert sum(saved) == taken
    assert train(interrupted, 0).wait(600) == 0
    one, other = (load_tensors(path_of(the_run(home), 2)) for home in (through, interrupted))
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.slow
def test_a_state_that_is_damaged_is_not_gone_on_from(home: Home, train: Callable[..., Any]) -> None:
    assert train(home, 3).wait(600) == 143
    weights = the_run(home) / INTERRUPTED / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert train(home, 5).wait(600) == 143
    assert len(load_spec(the_run(home) / INTERRUPTED)["losses"]) == 4  # from the beginning of the epoch


def test_weights_that_are_divided_say_where_they_go_on(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Each process hears the signal at a step of its own, and none can save what all have a part of."""
    plan, clock = make_plan(SPEC, home), Clock(torch.device("cpu"))
    losses = Losses(clock, lambda taken: None, lr=SPEC.lr, before=[1.0])
    for epoch, told in ((1, "it begins again"), (2, "it goes on after epoch 1")):
        optimizer = torch.optim.SGD(plan.victim.parameters(), lr=0.1)
        with (
            pytest.raises(Stopped),
            saved_when_interrupted(home.checkpoints, plan, optimizer, losses, clock, epoch=epoch, divided=True),
        ):
            raise Stopped(signal.SIGTERM)
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith("with FSDP each process has a part of the state") and said.endswith(told)
    assert not (home.checkpoints / INTERRUPTED).exists()
