"""transformers' configuration of a CLIP, as one of open_clip, and back: config.json of model_type "clip"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from store.errors import UserError

from .digests import read_json

WHOLE, PARTS = "clip", ("clip_vision_model", "clip_text_model")
ACTIVATIONS = {"quick_gelu": True, "gelu": False}
SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}  # what transformers calls them
END = 49407  # the last token of CLIP's vocabulary: that of the end of a text
BICUBIC = 3
EPS = 1e-5  # of layer norms, unless a configuration says otherwise


def is_transformers_config(config: Any) -> bool:
    """Whether a config.json is that of a CLIP, or of one of its encoders."""
    return isinstance(config, dict) and config.get("model_type") in (WHOLE, *PARTS)


def acts_quick(config: Mapping[str, Any], *, name: str) -> bool:
    """Whether the activation is QuickGELU. Raises UserError for one that open_clip does not have."""
    parts = (
        [config.get(part) for part in ("vision_config", "text_config")] if config["model_type"] == WHOLE else [config]
    )
    found = {str(part.get("hidden_act", "quick_gelu")) for part in parts if isinstance(part, dict)}
    if len(found) != 1 or not found <= set(ACTIVATIONS):
        raise UserError(
            f"{name} has the activation {' and '.join(sorted(found))[:60]}",
            hint="mmcoa takes CLIPs of one activation for both encoders: quick_gelu or gelu",
        )
    return ACTIVATIONS[found.pop()]


def open_clip_config(config: Mapping[str, Any], folder: Path, *, name: str) -> dict[str, Any]:
    """The content of open_clip_config.json for a whole CLIP of transformers. Raises UserError for what has no equal."""
    quick = acts_quick(config, name=name)
    try:
        vision, text = (dict(config.get(part) or {}) for part in ("vision_config", "text_config"))
        size, patch = vision.get("image_size", 224), vision.get("patch_size", 32)
        vision_cfg = {**_tower(vision, width=768, heads=12, inner=3072), "image_size": size, "patch_size": patch}
        vision_cfg["head_width"] = vision_cfg["width"] // vision_cfg.pop("heads")
        text_cfg = {
            **_tower(text, width=512, heads=8, inner=2048),
            "context_length": text.get("max_position_embeddings", 77),
            "vocab_size": int(text.get("vocab_size", END + 1)),
        }
        _check_tokenizer(folder, text_cfg["vocab_size"], name=name)
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        told = f"config.json or the tokenizer of {name} is damaged: {error}"
        raise UserError(told, hint="copy the model's folder again") from error
    model = {
        "embed_dim": config.get("projection_dim", 512), "quick_gelu": quick, "vision_cfg": vision_cfg,
        "text_cfg": text_cfg,
    }  # fmt: skip
    return {"model_cfg": model, "preprocess_cfg": _preprocess(folder, size, name=name)}


def _tower(config: Mapping[str, Any], *, width: int, heads: int, inner: int) -> dict[str, Any]:
    width, heads = config.get("hidden_size", width), config.get("num_attention_heads", heads)
    inner, eps = config.get("intermediate_size", inner), config.get("layer_norm_eps", EPS)
    if heads < 1 or width % heads:
        raise ValueError(f"{heads} heads do not divide {width}")
    ratio = inner / width
    if int(width * ratio) != inner:  # open_clip multiplies, and cuts what is behind the point
        ratio = math.nextafter(ratio, math.inf)
    tower = {"width": width, "heads": heads, "layers": config.get("num_hidden_layers", 12), "mlp_ratio": ratio}
    return tower if eps == EPS else {**tower, "norm_kwargs": {"eps": eps}}


def _preprocess(folder: Path, side: Any, *, name: str) -> dict[str, Any]:
    """What the folder says of its images, or else what OpenAI's own CLIP takes."""
    given = read_json(folder / "preprocessor_config.json") or {}
    if not isinstance(given, dict):
        raise UserError(f"preprocessor_config.json of {name} is damaged", hint="copy the model's folder again")
    for key, usual in (
        ("do_normalize", True),
        ("do_rescale", True),
        ("rescale_factor", 1 / 255),
        ("resample", BICUBIC),
    ):
        value = given.get(key, usual)
        if value != usual and not (isinstance(value, float) and math.isclose(value, float(usual), rel_tol=1e-6)):
            raise UserError(
                f"preprocessor_config.json of {name} says {key}: {str(value)[:40]}",
                hint=f"mmcoa gives a CLIP bicubic images in [0, 1], normalised ({key}: {usual})",
            )
    return {
        "size": side,
        "mean": given.get("image_mean", list(open_clip.OPENAI_DATASET_MEAN)),
        "std": given.get("image_std", list(open_clip.OPENAI_DATASET_STD)),
        "interpolation": "bicubic",
    }


def _check_tokenizer(folder: Path, words: Any, *, name: str) -> None:
    """Raises UserError unless the folder's tokenizer is that of CLIP, which open_clip has built in."""
    own = open_clip.SimpleTokenizer()
    if words < own.vocab_size:
        raise UserError(
            f"{name} has a vocabulary of {words:,} tokens, and CLIP's tokenizer {own.vocab_size:,}",
            hint="mmcoa takes CLIPs with CLIP's own tokenizer from transformers",
        )
    found = read_json(folder / "tokenizer.json")
    vocabulary = found.get("model", {}).get("vocab") if isinstance(found, dict) else read_json(folder / "vocab.json")
    if vocabulary is None:
        return  # a model without a tokenizer has CLIP's
    ours = {SPECIAL.get(token, token): number for token, number in own.encoder.items()}
    words_of = {token: number for token, number in dict(vocabulary).items() if number <= END}
    merges = found.get("model", {}).get("merges") if isinstance(found, dict) else None
    pairs = [tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in merges or own.bpe_ranks]
    if words_of != ours or pairs[: len(own.bpe_ranks)] != list(own.bpe_ranks):
        raise UserError(
            f"the tokenizer of {name} is not CLIP's",
            hint="mmcoa takes CLIPs with CLIP's own tokenizer from transformers",
        )
