"""A CLIP of random weights, of any open_clip architecture: what pre-training starts from."""

from __future__ import annotations

import math
from typing import Any

import open_clip
import psutil  # type: ignore[import-untyped]
import torch

from store.errors import UserError

from .architectures import NO_MODEL, build, shapes_of
from .clip import Clip, clips_tokenizer
from .origins import STAND_IN, Origin

NEEDS = 'it needs "embed_dim", "vision_cfg" and "text_cfg"'


def new_clip(config: dict[str, Any], *, name: str, seed: int) -> Clip:
    """A CLIP with random weights: `config` is an open_clip architecture, alone or under `model_cfg`."""
    config = config if "model_cfg" in config else {"model_cfg": config}
    _require_buildable(config)
    torch.manual_seed(seed)
    try:
        model = build(config)
        config = {**config, "preprocess_cfg": _preprocess_of(model, config.get("preprocess_cfg", {}))}
        open_clip.set_model_preprocess_cfg(model, config["preprocess_cfg"])
        tokenizer = clips_tokenizer(int(config["model_cfg"]["text_cfg"].get("context_length", 77)))
        return Clip(model, tokenizer, name=name, config=config, origin=Origin(STAND_IN, "mmcoa"))
    except NO_MODEL as error:
        raise UserError(f"this is no open_clip architecture: {error}", hint=NEEDS) from error


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
    needed, there = 16 * count, psutil.virtual_memory().total  # weights, gradients and two moments, of 4 bytes each
    if needed > there:
        raise UserError(
            f"an architecture of {count:,} weights takes {needed / 2**30:,.0f} GiB to train, and there are "
            f"{there / 2**30:,.0f}", hint="take a smaller one",
        )  # fmt: skip
