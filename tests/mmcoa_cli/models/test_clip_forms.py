"""The forms in which people have CLIPs: each is taken, with the same outputs, or refused in words that help."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

from mmcoa_cli.catalog import Kind
from mmcoa_cli.inventory import fetch
from mmcoa_cli.models.clip import Clip, load_clip
from mmcoa_cli.models.library import clip_path
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.origins import Record
from mmcoa_cli.settings import Home
from store.errors import UserError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VISION = {"image_size": 8, "layers": 2, "width": 24, "head_width": 8, "patch_size": 4}
MODEL = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
RESNET = {**MODEL, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}}
APART = {**MODEL, "custom_text": True}
TEXTS = ["a photo of a cat", "a photo of a dog", "jack-o'-lantern"]
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


@pytest.fixture(scope="module")
def original() -> Clip:
    return new_clip({"model_cfg": {**MODEL, "quick_gelu": True}}, name="small", seed=0)


@pytest.fixture
def base(home: Home, tmp_path: Path) -> Clip:
    """The model of the store that completes others: of the same architecture, with other weights."""
    clip = new_clip({"model_cfg": {**MODEL, "quick_gelu": True}}, name="base", seed=1)
    put(clip, tmp_path / "base")
    fetch("base", home, source=tmp_path / "base")
    return clip


def put(clip: Clip, folder: Path) -> Path:
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(clip.config))
    save_file(clip.tensors(), folder / WEIGHTS)
    return folder


def image_encoder(tensors: Tensors) -> Tensors:
    return {name.removeprefix("visual."): t for name, t in tensors.items() if name.startswith("visual.")}


def text_encoder(tensors: Tensors) -> Tensors:
    return {name: t for name, t in tensors.items() if not name.startswith("visual.") and name != "logit_scale"}


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def halves(tensors: Tensors) -> Tensors:
    return {name: tensor.half() for name, tensor in tensors.items()}


def middle(tensors: Tensors) -> Tensors:
    return {name.replace("visual.", "visual._orig_mod."): tensor for name, tensor in tensors.items()}


WHOLE: dict[str, Any] = {
    "bare": lambda t: t,
    "state_dict": lambda t: {"epoch": 3, "state_dict": t, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "model": lambda t: {"model": t},
    "model_state_dict": lambda t: {"model_state_dict": t, "epoch": np.int64(3)},
    "module.": lambda t: {"state_dict": prefixed("module.", t)},
    "model.": lambda t: {"state_dict": prefixed("model.", t)},
    "_orig_mod.": lambda t: prefixed("_orig_mod.", t),
    "module.model._orig_mod.": lambda t: prefixed("module.model._orig_mod.", t),
    "_orig_mod in the middle": middle,
    "with a loss of its own": lambda t: {"state_dict": {**prefixed("model.", t), "criterion.weight": torch.ones(3)}},
    "with a NumPy scalar": lambda t: {"best": np.float64(0.3), "state_dict": t},
    "with a namespace": lambda t: {"args": argparse.Namespace(lr=1e-5), "state_dict": t},
    "with an average of it": lambda t: {"state_dict": t, "ema_state_dict": {n: w + 1 for n, w in t.items()}},
    "twice in an entry": lambda t: {"checkpoint": {"model": t}},
    "with what OpenAI adds": lambda t: {**t, "input_resolution": torch.tensor(8), "vocab_size": torch.tensor(49408)},
    "a list of one for the scale": lambda t: {**t, "logit_scale": t["logit_scale"].reshape(1)},
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
def test_a_whole_clip(form: str, older: bool, home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    torch.save(WHOLE[form](original.tensors()), tmp_path / "w.pt", _use_new_zipfile_serialization=not older)
    same(taken(home, tmp_path / "w.pt"), original)


def same(clip: Clip, expected: Clip, *, images: Clip | None = None, texts: Clip | None = None) -> None:
    """What `clip` computes is what `expected` (or of either encoder another) does."""
    pixels = torch.rand(2, 3, expected.image_size, expected.image_size)
    torch.testing.assert_close(
        clip.encode_images(pixels), (images or expected).encode_images(pixels), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(clip.embed_texts(TEXTS), (texts or expected).embed_texts(TEXTS), rtol=0, atol=1e-6)


def taken(home: Home, source: Path, **options: Any) -> Clip:
    fetch("mine", home, source=source, kind=Kind.clip, **options)
    return load_clip(clip_path("mine", home), name="mine")


def understood(home: Home, source: Path, **options: Any) -> Record:
    record = fetch("mine", home, source=source, kind=Kind.clip, **options).about
    assert record is not None
    return record


IMAGES: dict[str, Any] = {
    "bare, as RobustVLM has it": lambda t: t,
    "visual.": lambda t: prefixed("visual.", t),
    "model.visual.": lambda t: prefixed("model.visual.", t),
    "module.visual._orig_mod.": lambda t: prefixed("module.visual._orig_mod.", t),
    "as TeCoA has it": lambda t: {"state_dict": {"pad_up": torch.zeros(3)}, "vision_encoder_state_dict": t, "epoch": 1},
    "as TeCoA has it, in parallel": lambda t: {"vision_encoder_state_dict": prefixed("module.", t)},
    "in half precision": halves,
}


@pytest.mark.parametrize("form", IMAGES)
def test_an_image_encoder_that_a_base_completes(
    form: str, home: Home, original: Clip, base: Clip, tmp_path: Path
) -> None:
    torch.save(IMAGES[form](image_encoder(original.tensors())), tmp_path / "w.pth.tar")
    with pytest.raises(UserError, match=r"w.pth.tar (holds only the image encoder|does not say)") as caught:
        taken(home, tmp_path / "w.pth.tar")
    assert "--base MODEL" in caught.value.hint
    clip = taken(home, tmp_path / "w.pth.tar", base="base")
    if "half" not in form:
        same(clip, base, images=original)
    assert clip.config["model_cfg"]["quick_gelu"] is True
    assert torch.equal(clip.scale, base.scale)


def test_an_image_encoder_whose_configuration_lies_beside_it(home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    torch.save(image_encoder(original.tensors()), tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds only the image encoder: all 29 weights of the text encoder are missing"):
        taken(home, tmp_path / "w.pt")


def test_a_text_encoder_that_a_base_completes(home: Home, original: Clip, base: Clip, tmp_path: Path) -> None:
    torch.save({"text": text_encoder(original.tensors())}, tmp_path / "w.pt")
    same(taken(home, tmp_path / "w.pt", base="base"), base, texts=original)


def test_a_resnet_without_the_counters_of_its_norms(home: Home, tmp_path: Path) -> None:
    clip = new_clip({"model_cfg": RESNET}, name="resnet", seed=0)
    (tmp_path / CONFIG).write_text(json.dumps(clip.config))
    torch.save({n: t for n, t in clip.tensors().items() if "num_batches" not in n}, tmp_path / "w.pt")
    same(taken(home, tmp_path / "w.pt"), clip)


def test_a_text_encoder_apart_under_its_older_names(home: Home, tmp_path: Path) -> None:
    clip = new_clip({"model_cfg": APART}, name="apart", seed=0)
    (tmp_path / CONFIG).write_text(json.dumps(clip.config))
    torch.save({name.removeprefix("text."): t for name, t in clip.tensors().items()}, tmp_path / "w.pt")
    same(taken(home, tmp_path / "w.pt"), clip)


def test_a_pickled_module_is_read_and_not_built(home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    torch.save(original.model, tmp_path / "w.pt")
    same(taken(home, tmp_path / "w.pt"), original)


class Block(nn.Module):
    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if "." not in name:
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        for part in sorted({name.split(".")[0] for name in tensors if "." in name}):
            below = {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}
            self.add_module(part, Block(below))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_archive(home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    torch.jit.script(Block(halves(original.tensors()))).save(str(tmp_path / "w.pt"))  # type: ignore[no-untyped-call]
    clip = taken(home, tmp_path / "w.pt")
    for name, tensor in original.tensors().items():
        assert torch.equal(clip.tensors()[name], tensor.half().float())


@pytest.mark.filterwarnings("ignore")
def test_an_archive_of_another_model_says_what_it_has(home: Home, tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(str(tmp_path / "w.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match=r"2 are unexpected \(visual.0.weight, visual.0.bias\)|0.weight"):
        fetch("ViT-B-32", home, source=tmp_path / "w.pt")


def test_what_is_missing_and_too_many_is_listed(home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    tensors = original.tensors()
    blocks = [name for name in tensors if name.startswith("visual.transformer.resblocks.1.")]
    torch.save({n: t for n, t in tensors.items() if n not in blocks} | {"visual.x": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        taken(home, tmp_path / "w.pt")
    total = len(tensors)
    assert f"12 of {total} weights are missing ({', '.join(blocks[:5])}, ...)" in str(caught.value)
    assert "1 are unexpected (visual.x)" in str(caught.value)
    torch.save({**tensors, "visual.proj": torch.ones(3, 4)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"1 are of another shape .visual\.proj is 3 x 4 instead of 24 x 16"):
        taken(home, tmp_path / "w.pt")


def test_layers_that_the_architecture_does_not_have_are_not_left_out(
    home: Home, original: Clip, tmp_path: Path
) -> None:
    """Twelve layers of twenty-four would load without a word, and compute something else."""
    less = {**original.config, "model_cfg": {**MODEL, "vision_cfg": {**VISION, "layers": 1}}}
    (tmp_path / CONFIG).write_text(json.dumps(less))
    for prefix in ("", "module."):
        torch.save(prefixed(prefix, original.tensors()), tmp_path / "w.pt")
        with pytest.raises(UserError, match="12 are unexpected"):
            taken(home, tmp_path / "w.pt")


def test_images_of_another_size_are_not_stretched(home: Home, original: Clip, tmp_path: Path) -> None:
    """open_clip would interpolate the positions of the patches without a word."""
    larger = {**original.config, "model_cfg": {**MODEL, "vision_cfg": {**VISION, "image_size": 16}}}
    (tmp_path / CONFIG).write_text(json.dumps(larger))
    torch.save(original.tensors(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"visual\.positional_embedding is 5 x 24 instead of 17 x 24"):
        taken(home, tmp_path / "w.pt")


def test_two_models_in_one_file_are_told_apart_by_their_entry(home: Home, original: Clip, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(original.config))
    torch.save({"student": original.tensors(), "teacher": original.tensors()}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="student and teacher"):
        taken(home, tmp_path / "w.pt")
    both = prefixed("student.", original.tensors()) | prefixed("teacher.", original.tensors())
    torch.save({"state_dict": both}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds two models that fit: state_dict (student|teacher)"):
        taken(home, tmp_path / "w.pt")


def test_the_base_that_is_no_base(home: Home, original: Clip, base: Clip, tmp_path: Path) -> None:
    torch.save(original.tensors(), tmp_path / "whole.pt")
    with pytest.raises(UserError, match="holds both encoders, and base would be ignored"):
        taken(home, tmp_path / "whole.pt", base="base")
    torch.save(image_encoder(original.tensors()), tmp_path / "w.pt")
    with pytest.raises(UserError, match="say the architecture"):
        taken(home, tmp_path / "w.pt", base="base", arch="ViT-B-32")
    with pytest.raises(UserError, match="no model called 'nobody'"):
        taken(home, tmp_path / "w.pt", base="nobody")
    with pytest.raises(UserError, match="cannot complete itself"):
        taken(home, tmp_path / "w.pt", base="mine")
    (tmp_path / CONFIG).write_text(json.dumps({**original.config, "model_cfg": MODEL}))
    with pytest.raises(UserError, match="says GELU, and base has QuickGELU"):
        taken(home, tmp_path / "w.pt", base="base")


@pytest.mark.parametrize(
    ("arch", "activation", "guess"),
    [
        ("ViT-B-32:openai", "QuickGELU", False),
        ("ViT-B-32:laion2b_s34b_b79k", "GELU", False),
        ("ViT-B-32-quickgelu", "QuickGELU", False),
        ("ViT-B-32", "GELU, a guess", True),
    ],
)
def test_the_activation_is_the_tags(
    arch: str, activation: str, guess: bool, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an architecture of that name that is small enough for a test."""
    import open_clip

    for name, quick in (("ViT-B-32", {}), ("ViT-B-32-quickgelu", {"quick_gelu": True})):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, {**MODEL, **quick})
    clip = new_clip({"model_cfg": {**MODEL, "quick_gelu": "Quick" in activation}}, name="small", seed=0)
    torch.save(clip.tensors(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="does not say what architecture it is of") as caught:
        taken(home, tmp_path / "w.pt")
    assert "--arch ViT-B-32:TAG" in caught.value.hint
    record = understood(home, tmp_path / "w.pt", arch=arch)
    assert record.understood["activation"] == activation
    assert record.understood["activation_from"] == (f"the tag {arch}" if ":" in arch else f"--arch {arch}")
    same(load_clip(clip_path("mine", home), name="mine"), clip)


def test_what_was_understood_is_kept(home: Home, original: Clip, tmp_path: Path) -> None:
    record = understood(home, put(original, tmp_path / "clip"))
    expected = {"image_size": 8, "context_length": 16, "embed_dim": 16, "activation": "QuickGELU"}
    assert {key: record.understood[key] for key in expected} == expected
    assert record.understood["parameters"] == sum(p.numel() for p in original.parameters())
    assert record.understood["digest"] == original.digest() == load_clip(clip_path("mine", home), name="m").digest()
    assert understood(home, tmp_path / "clip") == record


def test_the_same_name_and_another_request(home: Home, original: Clip, base: Clip, tmp_path: Path) -> None:
    put(original, tmp_path / "clip")
    torch.save(image_encoder(original.tensors()), tmp_path / "w.pt")
    first = taken(home, tmp_path / "clip").digest()
    assert not fetch("mine", home, source=tmp_path / "clip").new
    assert not fetch("mine", home).new
    with pytest.raises(UserError, match="not by this --from") as caught:
        taken(home, tmp_path / "w.pt", base="base")
    assert "--replace" in caught.value.hint
    assert load_clip(clip_path("mine", home), name="mine").digest() == first
    assert taken(home, tmp_path / "w.pt", base="base", replace=True).digest() != first


# transformers' own form

HUGE = {"vocab_size": 49408, "max_position_embeddings": 16, "num_hidden_layers": 2, "bos_token_id": 49406}
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3}


def transformers_clip(
    folder: Path, *, act: str = "quick_gelu", patch: int = 4, seed: int = 0, **more: Any
) -> CLIPModel:
    torch.manual_seed(seed)
    text = {**HUGE, **SIZES, "hidden_act": act, "eos_token_id": more.pop("eos", 49407), **more.pop("text", {})}
    vision = {**SIZES, "hidden_size": 36, "num_hidden_layers": 3, "hidden_act": act, "image_size": 12}
    vision |= {"projection_dim": 20, "patch_size": patch, **more.pop("vision", {})}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=20, **more)).eval()
    with torch.no_grad():  # larger than what is drawn, so that a wrong activation is seen
        for weight in model.parameters():
            weight.mul_(3)
        model.logit_scale.fill_(2.0)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("patch", [3, 4, 6])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_a_clip_of_transformers(act: str, patch: int, eps: float, home: Home, tmp_path: Path) -> None:
    more = {"layer_norm_eps": eps}
    model = transformers_clip(tmp_path / "clip", act=act, patch=patch, text=more, vision=more)
    clip = taken(home, tmp_path / "clip")
    logits_agree(clip, model)
    assert clip.config["model_cfg"]["quick_gelu"] is (act == "quick_gelu")
    record = understood(home, tmp_path / "clip")
    assert record.understood["activation_from"] == "config.json"


def logits_agree(clip: Clip, model: CLIPModel) -> None:
    """In double precision, of which ours leaves what the encoders give as float32."""
    ours, theirs = (copy.deepcopy(one).double() for one in (clip, model))
    pixels, tokens = torch.rand(3, 3, 12, 12, dtype=torch.float64), clip.tokenizer(TEXTS)
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, pixel_values=(pixels - ours.mean) / ours.std).logits_per_image
        found = ours.scale * ours.encode_images(pixels).double() @ ours.embed_texts(TEXTS).double().T
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["the file in its folder", "a pickle", "the older end of text", "half precision"])
def test_other_ways_to_have_it(form: str, home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    model = transformers_clip(folder, eos=2 if "older" in form else 49407)
    source = folder
    if form == "the file in its folder":
        source = folder / "model.safetensors"
    elif form == "a pickle":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    elif form == "half precision":
        model = model.half().float()
        save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, folder / "model.safetensors")
    logits_agree(taken(home, source), model)


def test_its_image_encoder_alone(home: Home, tmp_path: Path) -> None:
    whole, part = transformers_clip(tmp_path / "whole"), transformers_clip(tmp_path / "part", seed=1)
    fetch("whole", home, source=tmp_path / "whole")
    vision = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "part")
    vision.save_pretrained(tmp_path / "vision")
    clip = taken(home, tmp_path / "vision", base="whole")
    whole.vision_model, whole.visual_projection = part.vision_model, part.visual_projection
    logits_agree(clip, whole)
    with pytest.raises(UserError, match=r"config\.json|does not say|only the image encoder"):
        fetch("other", home, source=tmp_path / "vision", kind=Kind.clip)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vision": {"hidden_act": "gelu"}}, "activation gelu and quick_gelu"),
        ({"act": "gelu_new"}, "activation gelu_new"),
        ({"text": {"vocab_size": 1000}, "eos": 999}, "vocabulary of 1,000 tokens"),
    ],
)
def test_a_clip_of_transformers_that_open_clip_has_no_equal_of(
    change: dict[str, Any], reason: str, home: Home, tmp_path: Path
) -> None:
    transformers_clip(tmp_path / "clip", **change)
    with pytest.raises(UserError, match=reason):
        taken(home, tmp_path / "clip")


def test_its_preprocessing_and_its_tokenizer_are_those_that_are_computed_with(home: Home, tmp_path: Path) -> None:
    transformers_clip(tmp_path / "clip")
    preprocessor = tmp_path / "clip" / "preprocessor_config.json"
    preprocessor.write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}))
    assert taken(home, tmp_path / "clip").mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    preprocessor.write_text(json.dumps({"do_normalize": False}))
    with pytest.raises(UserError, match="do_normalize: False"):
        taken(home, tmp_path / "clip", replace=True)
    preprocessor.unlink()
    (tmp_path / "clip" / "vocab.json").write_text(json.dumps({"cat": 0, "dog": 1}))
    with pytest.raises(UserError, match="tokenizer of mine is not CLIP's"):
        taken(home, tmp_path / "clip", replace=True)
