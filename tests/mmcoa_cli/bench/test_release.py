"""The plain loop of the released code, which shares nothing with mmcoa's attacks and losses, comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli import attacks
from mmcoa_cli.attacks.base import Texts, settings_of
from mmcoa_cli.attacks.bert_attack import prepare
from mmcoa_cli.attacks.image import IMAGE
from mmcoa_cli.attacks.radii import radius
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.bench import release, training
from mmcoa_cli.bench.bench import Bench
from mmcoa_cli.bench.image import ours
from mmcoa_cli.bench.peers import PEERS, Module
from mmcoa_cli.datasets.pixels import to_unit
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.defences import loss_of
from mmcoa_cli.jobs.training_steps import original_of, steps
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.masked_lm import MaskedLM

NAMES = ("cat", "pickup truck", "aquarium fish", "sunflower seed", "axolotl", "cockroach", "house", "mushroom")


def same_pixels(ours: Tensor, theirs: Tensor) -> float:
    """The share of values that are the same to rounding: where a gradient is next to nothing its sign may turn."""
    return float(((ours - theirs).abs() < 1e-5).float().mean())


@pytest.mark.parametrize("model", ["vit", "resnet"])
@pytest.mark.parametrize(("eps", "number"), [("1/255", 1), ("8/255", 4)])
def test_the_image_attack_ends_on_the_same_images(
    bench: Callable[..., Bench], model: str, eps: str, number: int
) -> None:
    one = bench("image", model=model)
    settings = settings_of(IMAGE, {"steps": number, "eps": eps, "alpha": "1/255", "random_start": False})
    images, labels = to_unit(one.pixels(6), one.device), one.labels(6)
    own = ours(one.clip, one.prompts(one.few), images, labels, settings)(0)
    theirs = release.attack_pgd(
        one.release, images, labels, one.release.tokens(one.prompts(one.few)), alpha=settings.step_size,
        steps=number, eps=radius(eps), delta=torch.zeros_like(images),
    )  # fmt: skip
    moved = (own - images).abs().max() * 255
    assert moved == pytest.approx(number, abs=0.01)
    assert same_pixels(own, theirs) > 0.999


@pytest.mark.parametrize("name", PEERS)
def test_the_other_libraries_end_on_the_same_images(bench: Callable[..., Bench], name: str) -> None:
    if not PEERS[name].version:
        pytest.skip(f"needs {name}: {PEERS[name].install}")
    one = bench("image")
    settings = settings_of(IMAGE, {"steps": 4, "eps": "3/255", "random_start": False})
    images, labels = to_unit(one.pixels(6), one.device), one.labels(6)
    module = Module(one.release, one.prompts(one.few)).eval()
    theirs = PEERS[name].ready(module, images, labels, settings)()
    own = ours(one.clip, one.prompts(one.few), images, labels, settings)(0)
    assert (own - images).abs().max() * 255 == pytest.approx(3, abs=0.01)
    assert same_pixels(own, theirs) > 0.999


def of_release(clip: Clip) -> release.Release:
    return release.Release(clip.model, clip.tokenizer, clip.image_size, clip.mean, clip.std)


def by_mmcoa(clip: Clip, mlm: MaskedLM, prompts: Sequence[str]) -> list[str]:
    make = attacks.lookup("text").prompts
    assert make is not None
    return make(Texts(clip, prompts, NAMES, BertAttackSettings(compat="text"), mlm))


def test_the_text_attack_writes_the_same_words(small_clips: dict[str, Clip], wordy: MaskedLM) -> None:
    """Names of one word, of two, and of several word pieces."""
    clip, prompts = small_clips["vit"], class_prompts(NAMES, "This is a photo of a {}")
    theirs = release.BertAttack(wordy.model, wordy.tokenizer).attack(of_release(clip), prompts)
    assert any(len(wordy.tokenizer.tokenize(word)) > 1 for name in NAMES for word in name.split())
    assert all(one != prompt for one, prompt in zip(theirs, prompts, strict=True))
    assert by_mmcoa(clip, wordy, prompts) == theirs


@pytest.mark.parametrize("method", ["tecoa", "mmcoa"])
def test_a_step_of_training_has_the_same_loss_and_gradients(
    bench: Callable[..., Bench], wordy: MaskedLM, method: str
) -> None:
    """With what the released code does otherwise: gradients of PGD that leak, and its text attack."""
    one = bench("train", batch_size=6, steps=3, classes=(5,))
    one.__dict__["mlm"] = wordy
    dataset, accelerator = training.dataset_of(one), Accelerator(cpu=True)
    plan = training.plan_of(one, method, dataset)
    spec = plan.spec.changed(compat="release", random_start=False, eps="4/255")
    plan = replace(plan, spec=spec)
    if plan.text_target:
        target = prepare(plan.prompts, one.names(5), mlm=wordy, settings=spec.text_attack)
        plan = replace(plan, text_target=target)
    update = training.update_of(plan, accelerator)
    (step,) = steps(plan, update.module, accelerator, original=original_of(plan, one.home, accelerator), epoch=0)
    update.optimizer.zero_grad()
    loss = loss_of(plan.row.loss)(step)
    loss.backward()
    own = {name: weight.grad for name, weight in one.clip.model.named_parameters() if weight.grad is not None}

    images, labels = step.images, step.labels
    x_adv = training.released_images(one, plan, images, labels, delta=torch.zeros_like(images))
    if method == "tecoa":
        theirs = release.tecoa_loss(one.release, x_adv, labels, one.release.tokens(plan.prompts))
    else:
        texts = [plan.prompts[label] for label in labels.tolist()]
        written = release.BertAttack(wordy.model, wordy.tokenizer).attack(one.release, texts)
        assert written != texts
        theirs = release.mmcoa_loss(one.release, images, x_adv, texts, written)
    theirs.backward()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert len(own) > 20
    theirs_by_name = dict(one.release.model.named_parameters())
    for name, gradient in own.items():
        other = theirs_by_name[name].grad
        assert other is not None and theirs_by_name[name].data_ptr() == one.clip.model.get_parameter(name).data_ptr()
        assert (other - gradient).norm() <= 2e-3 * gradient.norm() + 1e-6, name
