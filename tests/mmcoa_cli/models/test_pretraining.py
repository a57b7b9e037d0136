"""Stand-ins from scratch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models.clip import load_clip
from mmcoa_cli.models.pretraining import PretrainSpec, pretrain, read_architecture
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
SPEC = PretrainSpec("small", CONFIG, "digits", epochs=1)


def test_the_same_specification_gives_the_same_bits(new_home: Callable[[str], Home]) -> None:
    one, two = (load_tensors(pretrain(SPEC, new_home(name))) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"lr": 2e-3}, {"flip": True}, {"batch_size": 64}])
def test_every_part_of_the_specification_matters(new_home: Callable[[str], Home], changes: dict[str, Any]) -> None:
    one = load_tensors(pretrain(SPEC, new_home("one")))
    two = load_tensors(pretrain(replace(SPEC, **changes), new_home("two")))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_it_is_labelled_and_not_trained_twice(home: Home) -> None:
    folder = pretrain(SPEC, home)
    assert folder == home.clips / "small"
    assert load_clip(folder, name="small").origin.kind == "stand-in"
    about = json.loads((folder / "source.json").read_text(encoding="utf8"))
    assert about["origin"] == "stand-in" and "digits" in about["source"]
    written = (folder / "model.safetensors").stat()
    assert pretrain(SPEC, home) == folder
    assert (folder / "model.safetensors").stat() == written
    assert not list(home.checkpoints.glob("pretrain-*"))


def test_another_model_of_that_name_stays(home: Home) -> None:
    for name in ("small", "vit"):
        pretrain(SPEC, home)
        with pytest.raises(UserError, match=f"another model is called {name} already"):
            pretrain(replace(SPEC, name=name, epochs=2), home)


def test_it_learns(furnished: Path) -> None:
    """The session's `vit` tells test images apart by their prompts, better than by chance."""
    home = Home(furnished, "")
    clip, dataset = load_clip(home.clips / "vit", name="vit"), open_dataset("digits", home)
    images = to_unit(load_pixels(dataset, "test", range(200)), clip.device)
    prompts = class_prompts(dataset.info.class_names, dataset.info.template)
    with torch.no_grad():
        predictions = (clip.encode_images(images) @ clip.embed_texts(prompts).T).argmax(dim=1).numpy()
    assert (predictions == dataset.labels("test")[:200]).mean() > 0.3


SIGLIP = {
    "embed_dim": 16,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {**CONFIG["vision_cfg"], "pool_type": "avg"},
    "text_cfg": {
        "context_length": 16, "vocab_size": 32000, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 16, "heads": 1, "layers": 1, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "instead_of"),
    [
        (SIGLIP, "timm/ViT-B-16-SigLIP"),
        ({"model_cfg": SIGLIP}, "timm/ViT-B-16-SigLIP"),
        ({**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": 1000}}, "one of 1,000"),
    ],
    ids=["SigLIP", "its open_clip_config.json", "a small vocabulary"],
)
def test_an_architecture_of_another_tokenizer_reads_clip_s_own(
    home: Home, config: dict[str, Any], instead_of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = load_clip(pretrain(replace(SPEC, config=config), home), name="small")
    told = " ".join(capsys.readouterr().err.split())
    assert f"small reads texts by CLIP's own tokenizer, of 49,408 tokens, and not by {instead_of}" in told
    one, two = clip.embed_texts(["a photo of a zyzzyva", "a photo of a cat"])
    assert one.isfinite().all() and not torch.equal(one, two)


def test_an_architecture_that_does_not_compute(home: Home) -> None:
    timm_s = {"image_size": 32, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"}
    with pytest.raises(UserError, match=r"no open_clip architecture: .*224"):
        pretrain(replace(SPEC, config={**CONFIG, "vision_cfg": timm_s}), home)


@pytest.mark.parametrize(
    ("text", "what"), [(None, "cannot read"), ("{", "is no JSON"), ("[]", "holds no architecture")]
)
def test_files_that_are_no_architecture(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "arch.json"
    if text is not None:
        path.write_text(text, encoding="utf8")
    with pytest.raises(UserError, match=what) as raised:
        read_architecture(path)
    assert raised.value.hint


@pytest.mark.parametrize("config", [{}, {"embed_dim": 8}, {**CONFIG, "vision_cfg": {"nonsense": 1}}])
def test_no_architecture_at_all(home: Home, config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no open_clip architecture"):
        pretrain(replace(SPEC, config=config), home)
    assert not (home.clips / "small").exists()
