"""NaN and infinity are refused where they arise: no model, no epoch and no result is made of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator

from mmcoa_cli.attacks.pgd import last, pgd_iterates
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.finite import all_finite
from mmcoa_cli.models.pretraining import PretrainSpec, pretrain
from mmcoa_cli.settings import Home
from store.errors import UserError

from ..conftest import TINY_VIT

SPEC = train_spec(
    "tecoa", dataset="digits", shots="1", model="vit", mlm="mlm",
    epochs=1, batch_size=10, eps="8/255", steps=1,
)  # fmt: skip


@pytest.mark.parametrize("batch_size", [5, 10], ids=["two steps", "a single step"])
@pytest.mark.parametrize("method", ["ft-standard", "tecoa", "mmcoa"])
def test_a_training_that_diverges_saves_no_epoch(home: Home, method: str, batch_size: int) -> None:
    with pytest.raises(UserError) as raised:
        train(SPEC.changed(method=method, lr=1e38, batch_size=batch_size), home, Accelerator(cpu=True))
    assert "--lr" in raised.value.hint
    assert not list(home.checkpoints.glob("*/epoch-*"))


@pytest.mark.parametrize("lr", [1e30, 1e38])
def test_a_pretraining_that_diverges_registers_no_model(home: Home, lr: float) -> None:
    with pytest.raises(UserError) as raised:
        pretrain(PretrainSpec("wild", TINY_VIT, "digits", epochs=1, batch_size=2048, lr=lr), home)
    assert "--lr" in raised.value.hint and not (home.clips / "wild").exists()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_without_gradients_makes_no_images(norm: str) -> None:
    attack, images = PgdSettings(norm=norm, eps="8/255", steps=2), torch.full((2, 3, 4, 4), 0.5)
    start = random_start(attack, images, indices=[0, 1], seed=0)

    def classify(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3] * float("nan")

    with pytest.raises(UserError, match="the gradients of the attack are not all finite numbers"):
        list(pgd_iterates(classify, images, torch.tensor([0, 1]), settings=attack, start=start))
    with pytest.raises(UserError, match="the images of the attack are not all finite numbers"):
        last(iter([images * float("nan")]), attack)


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": float("nan")}, {"lr": float("inf")}, {"image_weight": float("nan")}, {"text_weight": -0.1},
        {"image_weight": float("inf")}, {"image_weight": 0.0, "text_weight": 0.0}, {"epochs": 0}, {"seed": -1},
    ],
)  # fmt: skip
def test_settings_that_are_no_numbers_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError) as raised:
        SPEC.changed(method="mmcoa", **changes)
    assert raised.value.hint


@pytest.mark.parametrize("changes", [{"lr": float("inf")}, {"lr": 0.0}, {"epochs": 0}, {"precision": "fp8"}])
def test_settings_of_a_pretraining_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        PretrainSpec("x", TINY_VIT, "digits", **changes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_one_number_among_many_is_seen(dtype: torch.dtype) -> None:
    """Wherever it is in the vectors that a processor reads at once."""
    for size in (1, 7, 33, 1000):
        for place in {0, size // 2, size - 1}:
            tensor = torch.randn(size).to(dtype)
            assert all_finite(tensor)
            for wrong in (float("nan"), float("inf"), -float("inf")):
                tensor[place] = wrong
                assert not all_finite(tensor), (size, place, wrong)
    assert all_finite(torch.zeros((0, 4), dtype=dtype)) and all_finite(torch.tensor(3.0, dtype=dtype))
