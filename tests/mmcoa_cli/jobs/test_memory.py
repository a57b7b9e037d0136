"""Where memory runs out, a block and a batch are computed in pieces: the same examples, and the same step."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from ready import Server, Started
from torch import Tensor

import store
from mmcoa_cli import attacks
from mmcoa_cli.defences import loss_of
from mmcoa_cli.defences.batch import InPieces
from mmcoa_cli.jobs.evaluation import Maker
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Conduct
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training_plan import make_plan, run_row
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.training_steps import original_of, steps, train_epochs
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.models.load import load_base, load_mlm
from mmcoa_cli.models.victim import Wrapper
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError
from store.examples import ExampleSet
from store.index import Index

from .conftest import SMALL_RUN

ERRORS = {
    "of an accelerator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "of torch's CPU": RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "of Python": MemoryError(),
}  # fmt: skip


class Device(Wrapper):
    """A victim on a device whose memory takes so many images, and no more."""

    def __init__(self, inner: Any, takes: int, error: Exception) -> None:
        super().__init__(inner)
        self.takes, self.error, self.most = takes, error, 0

    def input_features(self, inputs: Tensor) -> Tensor:
        if len(inputs) > self.takes:
            raise self.error
        self.most = max(self.most, len(inputs))
        return super().input_features(inputs)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def made(home: Home, new_home: Callable[[str], Home], accelerator: Accelerator) -> Callable[..., ExampleSet]:
    """The examples of an attack in a store of their own, made on a device that takes so many images."""
    spec = evaluation_spec(
        "vit", ("digits",), ("clean", "image", "autoattack"), mlm="mlm", eps="8/255", alpha="4/255", steps=3, limit=40,
        batch_size=16, targets=2,
    )  # fmt: skip

    def make(attack: str, takes: int, error: Exception, **options: Any) -> ExampleSet:
        own = new_home(f"takes-{takes}")
        (trial,) = trials_of(spec, find_subject(spec, own), own)
        victim = Device(load_base("vit", own), takes, error)
        return Maker(trial, accelerator, victim, load_mlm("mlm", own), **options).examples(attack)

    return make


@pytest.mark.parametrize(("attack", "error"), [*zip(("clean", "image", "autoattack"), ERRORS.values(), strict=True)])
def test_examples_made_in_halves_are_those_made_at_once(
    made: Callable[..., ExampleSet], attack: str, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit where the products of matrices are so, which no size of this model's turned on any machine that was
    tried; else up to their rounding."""
    whole, halved = made(attack, 16, error), made(attack, 5, error)
    assert halved.block_size == whole.block_size == 16 and halved.key == whole.key
    for name in ("index", "label", "prediction", "outcome"):
        assert np.array_equal(whole.columns(name), halved.columns(name))
    if attacks.lookup(attack).images:
        clean = np.zeros((40, 8, 8, 3), np.uint8)
        differing = (whole.images(0, 40, clean) != halved.images(0, 40, clean)).any(axis=(1, 2, 3))
        assert differing.mean() <= 0.1
    said = capsys.readouterr().err
    assert f"out of memory with 16 images at once ({attack} on digits): going on with 8 images at once\n" in said
    assert f"out of memory with 8 images at once ({attack} on digits): going on with 4 images at once\n" in said
    assert "with 4 images at once (" not in said
    assert "clean, image on digits: 160 steps in" in said or attack != "image"  # what is done again counts once


def test_what_does_not_fit_by_itself_is_one_line_and_a_hint(made: Callable[..., ExampleSet]) -> None:
    with pytest.raises(UserError, match=r"there is not enough memory for a single image \(clean on digits\)") as raised:
        made("clean", 0, ERRORS["of an accelerator"])
    assert "--model" in raised.value.hint


def test_another_error_is_not_taken_for_one_of_memory(made: Callable[..., ExampleSet]) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        made("clean", 5, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_pieces_by_hand(made: Callable[..., ExampleSet], capsys: pytest.CaptureFixture[str]) -> None:
    made("clean", 5, ERRORS["of an accelerator"], micro_batch=5)
    assert "out of memory" not in capsys.readouterr().err


def gradients(method: str, home: Home, accelerator: Accelerator, most: int | None) -> list[Tensor]:
    """Those of the first step of a run, in which so many images are in memory at once."""
    plan = make_plan(train_spec(method, **{**SMALL_RUN, "batch_size": 11}), home)
    plan.victim.freeze(plan.spec.tune)
    module = InPieces(plan.victim, most)
    step = next(steps(plan, module, accelerator, original=original_of(plan, home, accelerator), epoch=0))
    step.micro_batch = most
    loss_of(plan.row.loss)(step).backward()
    return [weight.grad for weight in plan.victim.parameters() if weight.grad is not None]


@pytest.mark.parametrize(
    ("method", "most"), [("mmcoa", 1), ("mmcoa", 4), ("tecoa", 4), ("ft-standard", 10), ("vp", 4), ("advpt", 4)]
)
def test_gradients_in_pieces_are_those_of_the_whole_batch(
    home: Home, accelerator: Accelerator, method: str, most: int
) -> None:
    """mmcoa's loss pairs all images with all prompts of the batch: no sum over pieces would be it."""
    whole, parts = (gradients(method, home, accelerator, rows) for rows in (None, most))
    assert len(whole) == len(parts) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5 * float(one.abs().max()) + 1e-9)


def trained(home: Home, accelerator: Accelerator, takes: int, conduct: Conduct | None = None) -> dict[str, Tensor]:
    """The weights of a run on a device that takes so many images."""
    plan = make_plan(train_spec("mmcoa", **SMALL_RUN, lr=1e-3), home)

    def refuse(_: Any, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) > takes:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    assert isinstance(plan.victim, Clip)
    plan.victim.model.visual.register_forward_pre_hook(refuse)
    Index(home.database_url).save_run(run_row(plan))
    train_epochs(plan, home, accelerator, conduct=conduct)
    return load_tensors(epochs_in(home.checkpoints / plan.run)[-1])


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_a_run_goes_on_in_smaller_pieces_to_the_same_weights(
    new_home: Callable[[str], Home], accelerator: Accelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adam divides by the size of a gradient, and so makes the noise of one that is next to nothing part of a step."""
    whole = trained(new_home("whole"), accelerator, 1000)
    assert "out of memory" not in capsys.readouterr().err
    parts = trained(new_home("parts"), accelerator, 3)
    said = capsys.readouterr().err
    assert "out of memory with 8 images at once (training with mmcoa): going on with 4 images at once\n" in said
    assert "going on with 2 images at once\n" in said and said.count("out of memory") == 2
    by_hand = trained(new_home("hand"), accelerator, 3, Conduct(micro_batch=3))
    assert "out of memory" not in capsys.readouterr().err
    assert furthest(whole, parts) < 1e-3 / 20 and furthest(whole, by_hand) < 1e-3 / 20


def test_a_run_that_does_not_fit_image_by_image(home: Home, accelerator: Accelerator) -> None:
    with pytest.raises(UserError, match=r"not enough memory for a single image \(training with mmcoa\)"):
        trained(home, accelerator, 0)


SCRIPT = """
import re, resource
from pathlib import Path
import torch
from mmcoa_cli.jobs.out_of_memory import Pieces

taken = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 300 * 2**20,) * 2)
made = Pieces("rows of 4 MB").of(range(200), lambda rows: torch.ones(len(rows), 2**20).sum(dim=1).tolist())
print([len(piece) for piece in made], {value for piece in made for value in piece})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system limits the memory of a process")
def test_memory_that_really_runs_out(server: Callable[[], Server], tmp_path: Path) -> None:
    script = tmp_path / "limited.py"
    script.write_text(SCRIPT, encoding="utf8")
    variables = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])}
    process = Started(server(), [], variables, tmp_path, script=str(script))
    out, err = process.communicate(timeout=300)
    assert out == "[50, 50, 50, 50] {1048576.0}\n", err
    assert err.splitlines() == [
        "out of memory with 200 images at once (rows of 4 MB): going on with 100 images at once",
        "out of memory with 100 images at once (rows of 4 MB): going on with 50 images at once",
    ]
