"""Towers that compute twice instead of keeping: less is held, and the step is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from accelerate import Accelerator

from mmcoa_cli.jobs.job import Conduct
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.updates import estimated
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import clip_files, epochs_in
from mmcoa_cli.models.memory import bytes_of_step, counted
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors, save_checkpoint

from .conftest import SMALL_RUN

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 4, "width": 32, "head_width": 16, "patch_size": 4},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture
def deep() -> Clip:
    return new_clip(CONFIG, name="deep", seed=0)


@pytest.mark.parametrize("method", ["mmcoa", "tecoa"])
def test_the_step_is_the_same(new_home: Callable[[str], Home], deep: Clip, method: str) -> None:
    ends = []
    for recompute in (False, True):
        home = new_home(f"recompute-{recompute}")
        files = clip_files(deep, source="random")
        save_checkpoint(home.clips / "deep", tensors=deep.tensors(), spec={}, files=files)
        options = {**SMALL_RUN, "model": "deep", "lr": 1e-2, "optimizer": "sgd", "epochs": 2}
        spec = train_spec(method, **options)
        run = train(spec, home, Accelerator(cpu=True), conduct=Conduct(recompute=recompute))
        ends.append(load_tensors(epochs_in(home.checkpoints / run.id)[-1]))
    start = deep.tensors()
    assert max(float((ends[0][name] - start[name]).abs().max()) for name in start) > 1e-4
    assert all((ends[0][name] - ends[1][name]).abs().max() < 1e-5 for name in start)


def test_less_is_held(deep: Clip) -> None:
    kept = bytes_of_step(deep, 64, side=16)
    deep.model.set_grad_checkpointing(True)
    assert bytes_of_step(deep, 64, side=16) < kept


def test_what_is_held_is_in_proportion_to_the_images(deep: Clip) -> None:
    found = []
    for images in (2, 6):
        with counted(deep.parameters()) as held:
            deep.encode_images(torch.zeros(images, 3, 16, 16))
        found.append(held.most)
    assert found[1] == pytest.approx(3 * found[0], rel=0.02)
    weights = sum(weight.nbytes for weight in deep.parameters())
    assert bytes_of_step(deep, 8, side=16) - bytes_of_step(deep, 8, side=16, parts=2) == pytest.approx(1.5 * weights)


def test_it_is_chosen_where_memory_does_not_suffice(deep: Clip) -> None:
    takes = bytes_of_step(deep, 8, side=16)
    about = {"side": 16, "parts": 1, "device": torch.device("cpu")}
    assert estimated(deep, 8, **about, free=2 * takes) == ""
    told = estimated(deep, 8, **about, free=takes)  # all of it is not to spare
    assert told.startswith("about ") and "are free" in told
    assert estimated(deep, 2**40, **about)
