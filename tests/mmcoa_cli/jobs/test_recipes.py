"""Training in stages: which images and attacks each step has, wherever it goes on, and what a run of them is called."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from open_clip import transformer
from timm.layers import resample_abs_pos_embed

from mmcoa_cli.catalog.recipes import RecipeRow, Stage, recipes
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.continuing import spec_to_go_on_with
from mmcoa_cli.jobs.job import Job, Start, command_of
from mmcoa_cli.jobs.training_plan import Plan, make_plan
from mmcoa_cli.jobs.training_spec import stored_spec, train_spec, unused
from mmcoa_cli.jobs.training_steps import original_of, steps
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import path_of
from mmcoa_cli.reports.one_run import described
from mmcoa_cli.reports.trained import unusual
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index

SMALL = {"dataset": "digits", "shots": "2", "model": "vit", "mlm": "mlm", "epochs": 2, "batch_size": 4, "steps": 3}
FAST = train_spec("tecoa", **SMALL, recipe="fast")  # 5 steps an epoch, of which 6, 2 and 2 are in one stage


def taken(plan: Plan, home: Home, *, epoch: int, after: int = 0) -> list[tuple[int, int]]:
    """Of each step of an epoch the side that the encoder takes, and the steps of the attack."""
    accelerator = Accelerator(cpu=True)
    every = steps(
        plan, plan.victim, accelerator, original=original_of(plan, home, accelerator), epoch=epoch, after=after
    )
    return [(plan.victim.clip.side, step.attacks.image.steps) for step in every if step.attacks.image]


def test_each_step_has_its_stage_wherever_an_epoch_goes_on(home: Home) -> None:
    plan = make_plan(FAST, home)
    low, high, whole = (4, 2), (8, 2), (8, 3)  # of two patches a side three quarters are two
    assert taken(plan, home, epoch=0) == [low] * 5
    assert taken(plan, home, epoch=1) == [low, high, high, whole, whole]
    assert taken(plan, home, epoch=1, after=2) == [high, whole, whole]
    some = steps(plan, plan.victim, Accelerator(cpu=True), original=original_of(plan, home, Accelerator()), epoch=0)
    assert len([*islice(some, 2)]) == 2 and plan.victim.clip.side == 4
    assert len([*some]) == 3 and plan.victim.clip.side == 8  # an epoch that is over may be tested


@torch.no_grad()
def test_smaller_images_are_seen_as_by_an_encoder_of_their_size(small_clips: dict[str, Clip]) -> None:
    """One of open_clip's own that was built for them, whose position embedding timm has resized."""
    clip = copy.deepcopy(small_clips["vit"], {id(small_clips["vit"].tokenizer): small_clips["vit"].tokenizer})
    images, weights = torch.rand(3, 3, 16, 16), clip.model.visual.state_dict()
    for share, side in ((0.25, 4), (0.5, 8), (0.75, 12)):
        other = transformer.VisionTransformer(side, 4, 32, 2, 2, 4.0, output_dim=32).eval()
        grid = [side // 4] * 2
        places = resample_abs_pos_embed(weights["positional_embedding"][None], grid, [4, 4])[0]
        other.load_state_dict({**weights, "positional_embedding": places})
        assert clip.see(share) == side
        torch.testing.assert_close(clip.image_features(images), other(clip.encoder_input(images)), rtol=0, atol=2e-6)
    before = small_clips["vit"].image_features(images)
    assert clip.see() == 16 and torch.equal(clip.image_features(images), before)


def test_a_run_by_a_recipe_is_another_one_that_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    slow = launch.run(Job(FAST.changed(recipe=""))).run
    assert "recipe" not in capsys.readouterr().err
    fast = launch.run(Job(FAST)).run
    said = " ".join(capsys.readouterr().err.split())
    told = "of 10 steps 6 with 4 pixels and 2 steps of the attack, then 2 with 8 pixels and 2 steps of the attack"
    assert f"recipe fast: {told}, then 2 with 8 pixels" in said and fast != slow
    of_run = {run.id: run for run in Index(home.database_url).runs()}
    assert [run.startswith("tecoa-digits-2shot-") for run in (slow, fast)] == [True, True]
    assert of_run[slow].weights != of_run[fast].weights
    assert stored_spec("tecoa", of_run[fast].spec) == FAST and stored_spec("tecoa", of_run[slow].spec).recipe == ""
    own, others = (unusual("tecoa", json.loads(of_run[run].spec)) for run in (fast, slow))
    assert own["recipe"] == "fast" and "recipe" not in others
    assert "--recipe fast" in command_of(Job(FAST))
    assert described(fast, home, made_by=lambda rows: []).settings["recipe"] == "fast"
    with pytest.raises(UserError, match="cannot go on to 3, because the stages of its recipe fast end with the last"):
        spec_to_go_on_with(fast, home, epochs=3)
    assert spec_to_go_on_with(slow, home, epochs=3)[1].epochs == 3


def test_two_processes_take_the_same_steps(
    home: Home, new_home: Callable[[str], Home], typed: Callable[..., Any]
) -> None:
    run, other = launch.run(Job(FAST)).run, new_home("other")
    code, _, err = typed(other, *shlex.split(command_of(Job(FAST), Start(2)))[1:]).end()
    assert code == 0, err
    one, two = (load_tensors(path_of(of.checkpoints / run, FAST.epochs)) for of in (home, other))
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-5) for name in one)


def test_an_encoder_of_one_size_is_told_and_attacked_by_fewer_steps(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = FAST.changed(model="resnet")
    plan = make_plan(spec, home)
    assert taken(plan, home, epoch=0) == [(32, 2)] * 5
    launch.run(Job(spec.changed(epochs=1, shots="1")))
    assert "the image encoder of resnet takes images of one size" in " ".join(capsys.readouterr().err.split())


def test_what_has_no_use_for_a_recipe_refuses_it() -> None:
    assert "recipe" in unused(train_spec("vp").row, tested=True) and "recipe" not in unused(FAST.row, tested=False)
    with pytest.raises(UserError, match="vp trains a prompt"):
        train_spec("vp", recipe="fast")
    with pytest.raises(UserError, match="no recipe called 'fsat'"):
        train_spec("tecoa", recipe="fsat")
    # an id of version 0.1 to now is that of a run without one, and what the index says of such a run names none
    assert "stages" not in train_spec("tecoa").document() and "recipe" not in json.dumps(train_spec("tecoa").document())


def test_the_stages_are_the_whole_of_a_run() -> None:
    for row in recipes().values():
        for count in (1, 2, 7, 780):
            ends = [end for end, _ in row.in_steps(count)]
            assert ends == sorted(ends) and ends[-1] == count
    with pytest.raises(ValueError, match="not all of a run"):
        RecipeRow("half", stages=(Stage(0.5),))
