"""Where tensors lie, on a pretended GPU: nothing is computed across devices, what comes out is what the CPU gives, and
attacks on images do not wait for the device at each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pretended_gpu import GPU, pretended_gpu
from torch import Tensor

from mmcoa_cli.attacks.apgd import apgd
from mmcoa_cli.attacks.autoattack import AutoAttackSettings, Standing
from mmcoa_cli.attacks.pgd import pgd
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.jobs.worker import choose_kernels
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.index import Index

from .conftest import SMALL_ATTACK, SMALL_RUN, evaluated, write_pairs

ATTACKS = ("clean", "image", "text", "multimodal", "autoattack", "co-attack")
MAKE_IMAGES = ("image", "autoattack", "co-attack")
Work = Callable[[Home, Accelerator], Any]


@pytest.fixture
def on_each(
    furnish: Callable[[Path], Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Work], tuple[Any, Any]]:
    """Does a thing in two stores alike, on the CPU and on a pretended GPU."""

    def do(work: Work) -> tuple[Any, Any]:
        on_cpu = work(furnish(tmp_path / "cpu"), Accelerator(cpu=True))
        monkeypatch.setattr(Accelerator, "device", property(lambda self: GPU))
        with pretended_gpu():
            return on_cpu, work(furnish(tmp_path / "gpu"), Accelerator(cpu=True))

    return do


L2 = {"norm": "l2", "eps": "0.5", "alpha": "0.2", "stop_when_fooled": True}


@pytest.mark.parametrize(("model", "more"), [("vit", {}), ("resnet", L2)])
def test_examples_and_results_are_those_of_the_cpu(
    on_each: Callable[[Work], tuple[Any, Any]], model: str, more: dict[str, Any]
) -> None:
    options = {**SMALL_ATTACK, "limit": 8, "mlm": "mlm", "batch_size": 5, "targets": 2, **more}

    def work(home: Home, accelerator: Accelerator) -> dict[str, Any]:
        spec = evaluation_spec(model, ("digits",), ATTACKS, **options)
        evaluated(spec, home, accelerator)
        (trial,) = trials_of(spec, find_subject(spec, home), home)
        made = {attack: trial.examples(attack) for attack in ATTACKS}
        return {
            "predictions": [own.columns("prediction").tolist() for own in made.values()],
            "prompts": [made[attack].texts("adversarial_prompts") for attack in ("text", "multimodal")],
            "images": np.stack([made[attack].images(0, 8, trial.pixels(range(8))) for attack in MAKE_IMAGES]),
        }

    on_cpu, on_gpu = on_each(work)
    np.testing.assert_allclose(on_cpu.pop("images"), on_gpu.pop("images"), atol=1e-5)
    assert on_cpu == on_gpu


def test_every_member_of_autoattack_gives_what_it_gives_on_the_cpu(on_each: Callable[[Work], tuple[Any, Any]]) -> None:
    def work(home: Home, accelerator: Accelerator) -> list[int]:
        options = {**SMALL_ATTACK, "limit": 5, "targets": 2, "queries": 20, "members": "apgd-ce,apgd-t,fab-t,square"}
        spec = evaluation_spec("vit", ("digits",), ("clean", "autoattack", "embedding"), **options)
        evaluated(spec, home, accelerator)
        (trial,) = trials_of(spec, find_subject(spec, home), home)
        found: list[int] = trial.examples("autoattack").columns("prediction").tolist()
        return found

    on_cpu, on_gpu = on_each(work)
    assert on_cpu == on_gpu


def test_retrieval_is_that_of_the_cpu(on_each: Callable[[Work], tuple[Any, Any]]) -> None:
    asked = ("clean", "image", "text", "co-attack-set", "sga")

    def work(home: Home, accelerator: Accelerator) -> dict[tuple[str, str], float]:
        write_pairs(home, number=6)
        spec = evaluation_spec(
            "vit", ("pairs",), asked, task="retrieval", mlm="mlm", eps="16/255", steps=2, batch_size=10
        )
        evaluated(spec, home, accelerator)
        return {(row.attack, row.metric): row.value for _, row in Index(home.database_url).results()}

    on_cpu, on_gpu = on_each(work)
    assert on_cpu == pytest.approx(on_gpu, abs=1e-6)
    assert {attack for attack, _ in on_cpu} == set(asked)


@pytest.mark.parametrize("method", ["ft-standard", "tecoa", "mmcoa", "vp", "advpt"])
def test_training_is_that_of_the_cpu(on_each: Callable[[Work], tuple[Any, Any]], method: str) -> None:
    def work(home: Home, accelerator: Accelerator) -> dict[str, Tensor]:
        run = train(train_spec(method, **SMALL_RUN), home, accelerator)
        return load_tensors(epochs_in(home.checkpoints / run.id)[-1])

    on_cpu, on_gpu = on_each(work)
    assert on_cpu.keys() == on_gpu.keys()
    assert all(torch.allclose(on_cpu[name], on_gpu[name], rtol=1e-4, atol=1e-6) for name in on_cpu)


def test_kernels_give_the_same_bits_every_time_unless_it_is_to_be_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    before = torch.backends.cudnn.benchmark
    try:
        choose_kernels(torch)
        assert torch.are_deterministic_algorithms_enabled()
        # else torch lets attention take kernels that add in any order
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        choose_kernels(torch, fast=True)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before


def test_pgd_does_not_wait_for_the_device_at_its_steps(clip: Clip) -> None:
    def waits_of(steps: int) -> list[str]:
        with pretended_gpu() as waits:
            victim = clip.to(GPU)
            settings = PgdSettings(eps="4/255", alpha="1/255", steps=steps)
            images = torch.rand(4, 3, 16, 16).to(GPU)
            labels = torch.arange(4, device=GPU)
            texts = victim.embed_texts(["a dog", "a cat", "a car", "a tree"])
            start = random_start(settings, images, indices=range(4), seed=0)
            waits.clear()
            pgd(lambda x: victim.encode_images(x) @ texts.T, images, labels, settings=settings, start=start)
            return list(waits)

    few = waits_of(2)
    assert few  # of the result: what is not finite is refused
    assert waits_of(9) == few


def test_apgd_waits_for_the_device_once_a_step(clip: Clip) -> None:
    """But where images are fooled, and left."""
    steps = 10
    torch.manual_seed(0)  # the images: none is fooled
    with pretended_gpu() as waits:
        victim, images = clip.to(GPU), torch.rand(4, 3, 16, 16).to(GPU)
        texts = victim.embed_texts(["a dog", "a cat", "a car", "a tree", "a cup"])

        def classify(x: Tensor) -> Tensor:
            return victim.encode_images(x) @ texts.T

        labels = classify(images).detach().argmax(dim=1)
        settings = AutoAttackSettings(eps="0.01/255", steps=steps)
        others = labels.new_tensor([[k for k in range(5) if k != label] for label in labels.tolist()])
        standing = Standing(classify, images, labels, others, range(4), settings, 0, lambda: None)
        waits.clear()
        _, fooled = apgd(standing, lambda z, rows: z.sum(dim=1), draw=0)
        assert len(waits) <= steps + 5
    assert not fooled.tolist().count(True)
