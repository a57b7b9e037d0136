"""A CLIP of random weights, of any open_clip architecture: what pre-training starts from."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import open_clip
import torch

from store.errors import UserError

from ..memory import installed
from .architectures import NO_MODEL, build, shapes_of
from .clip import Clip, clips_tokenizer
from .origins import STAND_IN, Origin

VOCABULARY = 49408  # of CLIP's own tokenizer
NEEDS = 'it needs "embed_dim", "vision_cfg" and "text_cfg"'


def new_clip(config: dict[str, Any], *, name: str, seed: int) -> Clip:
    """A CLIP with random weights: `config` is an open_clip architecture, alone or under `model_cfg`. It reads texts by
    CLIP's own tokenizer, whatever the architecture names. Raises UserError for one that is none, or does not compute.
    """
    config = _with_own_tokenizer(config if "model_cfg" in config else {"model_cfg": config})
    _require_buildable(config)
    torch.manual_seed(seed)
    try:
        model = build(config)
        config = {**config, "preprocess_cfg": _preprocess_of(model, config.get("preprocess_cfg", {}))}
        open_clip.set_model_preprocess_cfg(model, config["preprocess_cfg"])
        tokenizer = clips_tokenizer(int(config["model_cfg"]["text_cfg"].get("context_length", 77)))
        clip = Clip(model, tokenizer, name=name, config=config, origin=Origin(STAND_IN, "mmcoa"))
        with torch.no_grad():  # timm's encoders may be of another size than the configuration says
            clip(torch.zeros(1, 3, clip.image_size, clip.image_size), clip.tokenize([""]))
        return clip
    except NO_MODEL as error:
        raise UserError(f"this is no open_clip architecture: {error}", hint=NEEDS) from error


def _with_own_tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    """The same with a text encoder of at least as many tokens as CLIP's tokenizer has: another one lies elsewhere, and
    random weights know none."""
    config = deepcopy(config)
    text = config["model_cfg"].get("text_cfg") if isinstance(config["model_cfg"], dict) else None
    if isinstance(text, dict):
        for key in ("hf_tokenizer_name", "tokenizer_kwargs"):
            text.pop(key, None)
        if isinstance(words := text.get("vocab_size"), int) and words < VOCABULARY:
            text["vocab_size"] = VOCABULARY
    return config


def _preprocess_of(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "size": model.visual.image_size,
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        **given,
    }


def _require_buildable(config: dict[str, Any]) -> None:
    """Raises UserError for an architecture that is none, or that this machine has no memory to train."""
    try:
        shapes = shapes_of(config, name="the new model")
    except UserError as error:
        raise UserError(f"this is no open_clip architecture: {error}", hint=NEEDS) from error
    count = sum(math.prod(shape) for shape in shapes.values())
    needed, there = 16 * count, installed()  # weights, gradients and two moments, of 4 bytes each
    if needed > there:
        raise UserError(
            f"an architecture of {count:,} weights takes {needed / 2**30:,.0f} GiB to train, and there are "
            f"{there / 2**30:,.0f}", hint="take a smaller one",
        )  # fmt: skip
