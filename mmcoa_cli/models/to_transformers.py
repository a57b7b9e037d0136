"""A CLIP as a folder that transformers loads: a CLIPModel with its CLIPProcessor, or in words why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.transform import PreprocessCfg

from store.errors import UserError

from .clip import Clip
from .from_transformers import ACTIVATIONS, END, EPS, SPECIAL, WHOLE
from .masked_lm import quiet_transformers
from .weights.transformers_names import as_transformers

TOWER = {"layers": "num_hidden_layers", "width": "hidden_size"}
# what transformers can say, beside these; anything else has to be as open_clip has it where nothing is said
VISION = {*TOWER, "head_width", "mlp_ratio", "patch_size", "image_size", "norm_kwargs", "patch_dropout"}
TEXT = {*TOWER, "heads", "mlp_ratio", "context_length", "vocab_size", "norm_kwargs"}
WITHOUT_EFFECT = {"timm_", "attn_pooler_", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"}
PREPROCESS = {"size", "mean", "std"}
MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
RESAMPLE = {"bilinear": 2, "bicubic": 3}
TOLERANCE = 1e-5  # of the cosines of what is written, against those of the model itself
TRIAL = ("a photo of a cat", "an image")


def unsaid(config: Mapping[str, Any]) -> str:
    """What a CLIP of this open_clip_config.json has that a CLIPModel of transformers has not; empty for nothing."""
    model, preprocess = config["model_cfg"], config.get("preprocess_cfg") or {}
    return next(_unsaid(model, preprocess), "")


def _unsaid(model: Mapping[str, Any], preprocess: Mapping[str, Any]) -> Iterator[str]:
    vision, text = model["vision_cfg"], model["text_cfg"]
    if vision.get("timm_model_name"):
        yield f"timm's image encoder {vision['timm_model_name']}"
    if isinstance(vision.get("layers", 12), list):
        yield "a ResNet as image encoder"
    if text.get("hf_model_name"):
        yield f"the text encoder {text['hf_model_name']}"
    if text.get("hf_tokenizer_name"):
        yield f"the tokenizer {text['hf_tokenizer_name']}"
    for name, value in model.items():
        if name not in MODEL and value not in (None, False):
            yield f"{name} {value}"
    if preprocess.get("interpolation", "bicubic") not in RESAMPLE:
        yield f"interpolation {preprocess['interpolation']}"
    usual = asdict(PreprocessCfg())
    for said, known, defaults in (
        (vision, VISION, asdict(CLIPVisionCfg())),
        (text, TEXT, asdict(CLIPTextCfg())),
        (preprocess, {*PREPROCESS, "interpolation", "fill_color"}, usual),
    ):
        for name, value in said.items():
            if name not in known and not name.startswith(tuple(WITHOUT_EFFECT)) and value != defaults.get(name):
                yield f"{name} {value}"
        if set(said.get("norm_kwargs") or {}) - {"eps"}:
            yield f"norm_kwargs {said['norm_kwargs']}"


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of transformers' config.json for an open_clip_config.json that has nothing `unsaid`."""
    model = config["model_cfg"]
    vision, text = {**asdict(CLIPVisionCfg()), **model["vision_cfg"]}, {**asdict(CLIPTextCfg()), **model["text_cfg"]}
    act = next(name for name, quick in ACTIVATIONS.items() if quick == bool(model.get("quick_gelu")))
    beside = {"projection_dim": model["embed_dim"], "hidden_act": act}
    vision_config = {
        **_tower(vision, heads=vision["width"] // vision["head_width"]), **beside,
        "image_size": vision["image_size"], "patch_size": vision["patch_size"],
    }  # fmt: skip
    text_config = {
        **_tower(text, heads=text["heads"]), **beside,
        "vocab_size": text["vocab_size"], "max_position_embeddings": text["context_length"],
        "bos_token_id": END - 1, "eos_token_id": END, "pad_token_id": END,
    }  # fmt: skip
    return {
        "model_type": WHOLE, "projection_dim": model["embed_dim"], "vision_config": vision_config,
        "text_config": text_config,
    }  # fmt: skip


def _tower(said: Mapping[str, Any], *, heads: int) -> dict[str, Any]:
    return {
        **{theirs: said[ours] for ours, theirs in TOWER.items()},
        "num_attention_heads": heads,
        "intermediate_size": int(said["width"] * said["mlp_ratio"]),
        "layer_norm_eps": (said["norm_kwargs"] or {}).get("eps", EPS),
    }


def save_transformers(clip: Clip, folder: Path) -> None:
    """Write the model and its processor into `folder`, after both encoders of what is written have given what `clip`
    gives. Raises UserError for a CLIP that transformers' CLIPModel cannot be."""
    if reason := unsaid(clip.config):
        raise UserError(
            f"transformers' CLIPModel has no place for {reason}, which {clip.name} has", hint="--to open_clip"
        )
    from transformers import CLIPConfig, CLIPModel

    quiet_transformers()
    model = CLIPModel(CLIPConfig(**config_of(clip.config))).eval()
    lacking, unknown = model.load_state_dict(as_transformers(clip.tensors()), strict=False)
    lacking = [name for name in lacking if not name.endswith("position_ids")]  # older versions store what is no weight
    if lacking or unknown:
        raise UserError(
            f"transformers' CLIPModel has other weights than {clip.name}: {', '.join([*lacking, *unknown][:3])}",
            hint="--to open_clip",
        )
    _require_same(model, clip)
    model.save_pretrained(folder)
    _save_processor(clip, folder)


@torch.no_grad()
def _require_same(model: Any, clip: Clip) -> None:
    """Raises UserError unless the logits of both are equal, up to rounding."""
    side = clip.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokens: torch.Tensor = clip.tokenizer(list(TRIAL))
    theirs = model(pixel_values=clip.encoder_input(images), input_ids=tokens).logits_per_image / model.logit_scale.exp()
    ours = clip.encode_images(images) @ clip.encode_texts(tokens).T
    if not torch.allclose(theirs, ours, rtol=0, atol=TOLERANCE) or not torch.equal(model.logit_scale.exp(), clip.scale):
        raise UserError(f"transformers computes something else for {clip.name}", hint="--to open_clip")


def _save_processor(clip: Clip, folder: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPProcessor

    side, said = clip.image_size, clip.config.get("preprocess_cfg") or {}
    images = CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side},
        resample=RESAMPLE[said.get("interpolation", "bicubic")], do_normalize=True,
        image_mean=clip.mean.flatten().tolist(), image_std=clip.std.flatten().tolist(),
    )  # fmt: skip
    text = clip.config["model_cfg"]["text_cfg"]
    tokenizer = _tokenizer(folder, context_length=text.get("context_length", CLIPTextCfg.context_length))
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    images.save_pretrained(folder)  # where versions before 5 look


def _tokenizer(folder: Path, *, context_length: int) -> Any:
    """CLIP's own tokenizer, which open_clip has built in, as transformers has it."""
    from transformers import CLIPTokenizer

    own = open_clip.SimpleTokenizer()
    vocabulary = {SPECIAL.get(token, token): number for token, number in own.encoder.items()}
    merges = [" ".join(pair) for pair in own.bpe_ranks]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf8")
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=context_length)
