"""Training runs in this process: what is learned, what stays as it is, and what a run's id stands for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.sampling import few_shot
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import stored_spec, train_spec
from mmcoa_cli.models.epochs import clip_files, epochs_in
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.settings import Home
from store.checkpoints import load_spec, load_tensors, save_checkpoint
from store.errors import UserError
from store.index import Index

from .conftest import SMALL_RUN

SPEC = train_spec("mmcoa", **SMALL_RUN, lr=1e-3)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def learned(home: Home, accelerator: Accelerator) -> Callable[..., dict[str, Tensor]]:
    """The weights that a run of `SPEC`, with these changes, ends with."""

    def learn(**changes: Any) -> dict[str, Tensor]:
        run = train(SPEC.changed(**changes), home, accelerator)
        return load_tensors(epochs_in(home.checkpoints / run.id)[-1])

    return learn


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("method", ["ft-standard", "tecoa", "mmcoa"])
def test_every_weight_that_takes_part_is_trained(
    home: Home, learned: Callable[..., dict[str, Tensor]], method: str
) -> None:
    before, after = load_tensors(home.clips / "vit"), learned(method=method)
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert changed(before, after) == set(before)


@pytest.mark.parametrize("method", ["ft-standard", "tecoa", "mmcoa"])
def test_the_statistics_of_a_batchnorm_do_not_move(
    home: Home, learned: Callable[..., dict[str, Tensor]], method: str
) -> None:
    before, after = load_tensors(home.clips / "resnet"), learned(method=method, model="resnet", shots="1")
    statistics = {name for name in before if "running_" in name or "num_batches" in name}
    assert len(statistics) > 20
    assert changed(before, after) == set(before) - statistics


def test_tuning_one_encoder_leaves_the_other(home: Home, learned: Callable[..., dict[str, Tensor]]) -> None:
    before = load_tensors(home.clips / "vit")
    of_image_encoder = {name for name in before if name.startswith("visual.")}
    assert changed(before, learned(tune="image")) == of_image_encoder
    assert changed(before, learned(tune="text")) == set(before) - of_image_encoder


def test_a_run_is_repeated_bit_for_bit(new_home: Callable[[str], Home], accelerator: Accelerator) -> None:
    weights = []
    for name in ("one", "two"):
        other = new_home(name)
        weights.append(load_tensors(epochs_in(other.checkpoints / train(SPEC, other, accelerator).id)[-1]))
    assert not changed(*weights)


def test_a_finished_run_is_not_trained_again(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator)
    (folder,) = epochs_in(home.checkpoints / run.id)
    written = (folder / "model.safetensors").stat()
    assert train(SPEC, home, accelerator) == run
    assert (folder / "model.safetensors").stat() == written


def test_every_epoch_is_kept_and_the_optimizer_of_the_last(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC.changed(epochs=3), home, accelerator)
    folders = epochs_in(home.checkpoints / run.id)
    assert [folder.name for folder in folders] == ["epoch-001", "epoch-002", "epoch-003"]
    assert [(folder / "state.safetensors").exists() for folder in folders] == [False, False, True]
    assert [load_spec(folder)["epoch"] for folder in folders] == [1, 2, 3]
    assert load_spec(folders[0])["run"] == run.id and np.isfinite(load_spec(folders[0])["loss"])
    measured = Index(home.database_url).epochs(run.id)
    assert [(epoch.epoch, epoch.loss) for epoch in measured] == [
        (n, load_spec(folders[n - 1])["loss"]) for n in (1, 2, 3)
    ]
    assert {(epoch.images, epoch.processes, epoch.precision) for epoch in measured} == {(20, 1, "fp32")}
    assert all(0 < epoch.seconds < 600 and "thread" in epoch.device for epoch in measured)
    process = psutil.Process().memory_info().rss
    assert all(process / 100 < (epoch.peak_memory or 0) < 100 * process for epoch in measured)  # bytes


def test_a_run_records_what_it_was_made_of(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator)
    document = json.loads((home.runs / run.id / "run.json").read_text(encoding="utf8"))
    assert stored_spec("mmcoa", json.dumps(document["spec"])) == SPEC
    labels = open_dataset("digits", home).labels("train")
    assert document["identity"]["indices"] == few_shot(labels, "2", seed=0).tolist()
    assert np.bincount(labels[document["identity"]["indices"]]).tolist() == [2] * 10
    assert (run.kind, run.method, run.model, run.source, run.shots) == ("train", "mmcoa", "vit", "digits", "2")
    assert run.status == "complete" and run.finished_at and run.model_origin == "stand-in"
    assert Index(home.database_url).run(run.id) == run


RELEVANT: dict[str, Any] = {
    "eps": "7/255", "alpha": "3/255", "steps": 3, "mlm": "none", "contrast": "class", "image_weight": 0.4,
    "text_weight": 0.4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("ft-standard", ["eps", "alpha", "steps", "mlm", "contrast", "image_weight", "text_weight"]),
        ("tecoa", ["mlm", "contrast", "image_weight", "text_weight"]),
    ],
)
def test_the_id_does_not_change_with_what_the_method_does_not_use(home: Home, method: str, parts: list[str]) -> None:
    spec = SPEC.changed(method=method)
    assert {make_plan(spec.changed(**{name: RELEVANT[name]}), home).run for name in parts} == {
        make_plan(spec, home).run
    }


def test_other_weights_under_the_same_name_are_another_run(home: Home) -> None:
    before = make_plan(SPEC, home).run
    tensors = load_tensors(home.clips / "vit")
    files = {name: (home.clips / "vit" / name).read_text() for name in ("open_clip_config.json", "source.json")}
    tensors["visual.proj"] += 1e-3
    save_checkpoint(home.clips / "vit", tensors=tensors, spec={}, files=files)
    assert make_plan(SPEC, home).run != before


@pytest.mark.parametrize("method", ["tecoa", "mmcoa"])
def test_the_release_trains_other_weights(learned: Callable[..., dict[str, Tensor]], method: str) -> None:
    assert changed(learned(method=method), learned(method=method, compat="release"))


def test_a_masked_lm_without_a_candidate_leaves_the_prompts(
    home: Home, learned: Callable[..., dict[str, Tensor]]
) -> None:
    save_mlm_without_words(home)
    plan = make_plan(SPEC.changed(mlm="none"), home)
    assert plan.text_target is not None
    assert not any(word for prompt in plan.text_target.candidates for word in prompt)
    after = learned(mlm="none")
    assert all(tensor.isfinite().all() for tensor in after.values())


def test_nothing_is_trained_for_zero_shot(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC.changed(method="clip"), home, accelerator)
    assert (run.id, run.kind, run.method, run.shots) == ("clip-vit", "zero-shot", "clip", "0")
    assert not home.checkpoints.exists()


@pytest.mark.parametrize("changes", [{"dataset": "x"}, {"model": "x"}, {"method": "x"}, {"shots": "1000"}])
def test_names_that_are_not_there(home: Home, accelerator: Accelerator, changes: dict[str, str]) -> None:
    with pytest.raises(UserError) as raised:
        train(SPEC.changed(**changes), home, accelerator)
    assert raised.value.hint
    assert Index(home.database_url).runs() == []


def test_a_damaged_checkpoint_is_not_gone_on_from(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator)
    index = Index(home.database_url)
    index.save_run(replace(run, status="running", finished_at=None))
    weights = epochs_in(home.checkpoints / run.id)[-1] / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\0\1")
    assert train(SPEC, home, accelerator).weights == run.weights
    assert weights.read_bytes() == whole


def test_the_loss_falls(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC.changed(method="tecoa", shots="10", epochs=6), home, accelerator)
    losses = [load_spec(folder)["loss"] for folder in epochs_in(home.checkpoints / run.id)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_model_of_another_architecture_trains_too(home: Home, learned: Callable[..., dict[str, Tensor]]) -> None:
    """Images larger than the encoder's input: digits of 8 pixels, an encoder of 4."""
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 4, "layers": 1, "width": 16, "head_width": 16, "patch_size": 4},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    clip = new_clip(config, name="small", seed=0)
    save_checkpoint(home.clips / "small", tensors=clip.tensors(), spec={}, files=clip_files(clip, source="random"))
    assert changed(clip.tensors(), learned(model="small", shots="1"))


def save_mlm_without_words(home: Home) -> Path:
    """A masked LM that gives every word the logit 0, which is under the score that a candidate needs."""
    tokenizer = AutoTokenizer.from_pretrained(home.mlms / "mlm", local_files_only=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=64,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model.save_pretrained(home.mlms / "none")
    tokenizer.save_pretrained(home.mlms / "none")
    return home.mlms / "none"
