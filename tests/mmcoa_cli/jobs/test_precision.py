"""Less than float32: what an attack made in it is judged in float32, and depends on no batch size; weights learn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmcoa_cli.catalog import OptimizerRow
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.defences.optimizers import make_optimizer
from mmcoa_cli.jobs.evaluation import Maker
from mmcoa_cli.jobs.evaluation_spec import evaluation_after, evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.trials import Trial, trials_of
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.load import load_base, load_mlm
from mmcoa_cli.models.precision import SLOWLY, choose, computing_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError
from store.examples import ExampleSet

from .conftest import SMALL_RUN

LIMIT = 200


@pytest.fixture
def made(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Trial, ExampleSet]]:
    """The examples of an attack on some digits, in any precision, on any CPU."""
    monkeypatch.setenv(SLOWLY, "1")

    def make(attack: str, precision: str, batch_size: int = 64) -> tuple[Trial, ExampleSet]:
        spec = evaluation_spec(
            "vit", ("digits",), ("clean", "image", "text", "multimodal"), mlm="mlm", eps="8/255", steps=10, limit=LIMIT,
            precision=precision, batch_size=batch_size,
        )  # fmt: skip
        (trial,) = trials_of(spec, find_subject(spec, home), home)
        victim = load_base("vit", home).use_precision(precision)
        return trial, Maker(trial, Accelerator(cpu=True), victim, load_mlm("mlm", home)).examples(attack)

    return make


@pytest.mark.parametrize("attack", ["clean", "image", "multimodal"])
def test_what_was_attacked_in_bf16_is_judged_in_fp32(
    home: Home, made: Callable[..., tuple[Trial, ExampleSet]], attack: str
) -> None:
    trial, examples = made(attack, "bf16")
    clip = load_base("vit", home)
    pixels = load_pixels(open_dataset("digits", home), "test", trial.indices)
    shown = to_unit(pixels, torch.device("cpu"))
    prompts = trial.texts
    if attack != "clean":
        shown = torch.from_numpy(made("image", "bf16")[1].images(0, LIMIT, pixels))
    if attack == "multimodal":
        prompts = examples.texts("adversarial_prompts")
    with torch.no_grad():
        logits = clip.encode_images(shown) @ clip.embed_texts(prompts).T
    found = torch.from_numpy(examples.columns("prediction"))
    best, chosen = logits.amax(dim=1), logits.gather(1, found[:, None])[:, 0]
    assert (best - chosen).max() < 1e-6  # some prompts are the same


def test_an_attack_in_bf16_is_the_one_in_fp32(made: Callable[..., tuple[Trial, ExampleSet]]) -> None:
    """But for rounding: of 200 images no more than a few are answered otherwise."""
    full, half = (made("image", precision)[1].columns("prediction") for precision in ("fp32", "bf16"))
    clean = made("clean", "fp32")[1].columns("prediction")
    assert (full != clean).mean() > 0.1  # it attacks at all
    assert (full == half).mean() >= 0.98


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_answer_does_not_depend_on_the_batch_size(
    made: Callable[..., tuple[Trial, ExampleSet]], new_home: Callable[[str], Home], precision: str
) -> None:
    """A loss that is averaged instead of summed loses its gradient as the batch grows. A key names no batch size."""
    _, large = made("image", precision, batch_size=LIMIT)
    before = large.columns("prediction")
    large.path.unlink()
    after = made("image", precision, batch_size=10)[1]
    assert after.block_size == 10
    assert (after.columns("prediction") == before).mean() >= 0.99


def test_weights_learn_in_fp32_of_gradients_in_bf16(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of Adam is far below what bf16 tells from a weight: of weights in bf16 most would not move."""
    monkeypatch.setenv(SLOWLY, "1")
    spec = train_spec("mmcoa", **SMALL_RUN, lr=1e-6, precision="bf16")
    run = train(spec, home, Accelerator(cpu=True))
    before, after = load_tensors(home.clips / "vit"), load_tensors(epochs_in(home.checkpoints / run.id)[-1])
    moved = [(before[name] != after[name]).float().mean() for name in before if before[name].ndim > 1]
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    still = before["visual.proj"].bfloat16() == after["visual.proj"].bfloat16()
    assert still.float().mean() > 0.9
    assert sum(share > 0.5 for share in moved) > len(moved) / 2


def test_a_precision_ends_with_its_block(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLOWLY, "1")
    clip = load_base("vit", home).use_precision("bf16")
    with pytest.raises(ZeroDivisionError), computing_in(clip, "fp32"):
        assert clip.precision == "fp32"
        _ = 1 / 0
    assert clip.precision == "bf16"


def test_tf32_is_a_format_of_gpus(home: Home) -> None:
    with pytest.raises(UserError, match="TF32 is a format of NVIDIA's GPUs") as raised:
        load_base("vit", home).use_precision("tf32")
    assert raised.value.hint == "--precision fp32"


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_gpu_that_is_too_old_for_a_precision_says_so(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, flags = torch.device("cuda"), (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [flag.allow_tf32 for flag in flags]
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    try:
        choose("fp32", gpu)
        with pytest.raises(UserError, match=f"this GPU has no {precision} instructions") as error:
            choose(precision, gpu)
        assert error.value.hint == "--precision fp32"
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
        choose(precision, gpu)
    finally:
        for flag, allowed in zip(flags, before, strict=True):
            flag.allow_tf32 = allowed


def test_a_run_that_is_fast_is_another_and_so_is_its_test(home: Home) -> None:
    plain = train_spec("tecoa", **SMALL_RUN)
    fast = plain.changed(fast=True)
    test = evaluation_after(fast)
    assert test.fast and fast.to_type(test)["fast"] is True and "fast" not in plain.to_type()
    spec = evaluation_spec("vit", ("digits",), ("image",), mlm="mlm")
    (one,), (other,) = (
        trials_of(chosen, find_subject(chosen, home), home) for chosen in (spec, spec.changed(fast=True))
    )
    assert one.examples("image").key != other.examples("image").key


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fast_optimizer_takes_the_same_steps(name: str) -> None:
    """In the order of its sums it differs, which is rounding."""
    row, ends = OptimizerRow(name, lr=1e-2, weight_decay=0.1), []
    for fast in (False, True):
        weight = nn.Parameter(torch.linspace(-1, 1, 100))
        optimizer = make_optimizer(row, [weight], fast=fast)
        for _ in range(5):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        ends.append(weight.detach())
        assert any("fused" in group and bool(group["fused"]) is fast for group in optimizer.param_groups)
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)
