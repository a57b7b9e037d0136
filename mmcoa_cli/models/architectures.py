"""open_clip's model configurations: check one before anything is built of it, and find the shapes of its weights.

A configuration may come from anywhere. The shapes are found without memory for the weights (torch's `meta` device),
within bounds that every published CLIP keeps; so a file is compared with a model before the model is allocated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

import open_clip
import timm
import torch
from safetensors import SafetensorError

from store.errors import UserError
from store.keys import canonical_json

from .foreign_code import refuse_asking_for_code

# what open_clip, timm and torch raise for a configuration or weights that make no model
NO_MODEL = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, OSError,
    NotImplementedError, SafetensorError,
)  # fmt: skip
MAX_NUMBER, MAX_LAYERS, MAX_TEXT, MAX_GRID, MAX_SIDE = 10_000_000, 200, 4096, 128, 4096
TOKENIZER_SETTINGS = {"clean": str, "strip_sep_token": bool, "language": str}
SEE = "see open_clip's model_configs for examples"
Shapes = dict[str, tuple[int, ...]]


def check_config(config: Mapping[str, Any], *, name: str) -> None:
    """Raises UserError for an open_clip_config.json that is no configuration, names code or a model that lies
    elsewhere, or describes a model far larger than any there is."""
    model = config.get("model_cfg")
    vision, text = (model.get("vision_cfg"), model.get("text_cfg")) if isinstance(model, dict) else (None, None)
    if not isinstance(model, dict) or not isinstance(vision, dict) or not isinstance(text, dict):
        raise UserError(f'the configuration of {name} has no "model_cfg" with "vision_cfg" and "text_cfg"', hint=SEE)
    if not isinstance(config.get("preprocess_cfg", {}), dict):
        raise UserError(f'the "preprocess_cfg" of {name} is damaged', hint=SEE)
    refuse_asking_for_code(config, name=name)
    _refuse_elsewhere(vision, text, name=name)
    _refuse_giants(config, name=name, depth=0)
    grid = _number(vision.get("image_size", 224)) / max(1, _number(vision.get("patch_size") or 16))  # null of a ResNet
    fits = grid <= MAX_GRID and _number(vision.get("image_size", 224)) <= MAX_SIDE
    if not fits or _number(text.get("context_length", 77)) > MAX_TEXT or _layers(model) > MAX_LAYERS:
        raise UserError(f"the configuration of {name} describes a model larger than any there is", hint=SEE)


def shapes_of(config: Mapping[str, Any], *, name: str) -> Shapes:
    """Find the shape of each weight of the model, by name. Raises UserError for what is no architecture."""
    check_config(config, name=name)
    try:
        return dict(_shapes(canonical_json(config["model_cfg"])))
    except NO_MODEL as error:
        raise UserError(f"the configuration of {name} is no architecture: {first_line(error)}", hint=SEE) from error


@lru_cache(maxsize=8)
def _shapes(model_cfg: str) -> Shapes:
    """Found once for all models of an architecture that a process loads."""
    with torch.device("meta"):
        model = build({"model_cfg": json.loads(model_cfg)})
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def build(config: Mapping[str, Any]) -> Any:
    """Build open_clip's model, with random weights, from a configuration that `check_config` has passed."""
    settings = deepcopy(dict(config["model_cfg"]))
    custom = settings.pop("custom_text", False)
    plain = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    kind: Any = open_clip.CoCa if "multimodal_cfg" in settings else plain
    if "timm_model_name" in settings["vision_cfg"]:
        settings["vision_cfg"]["timm_model_pretrained"] = False
    return kind(**settings)


def activation(config: Mapping[str, Any]) -> str:
    """Name the activation of a model's transformer blocks."""
    act = "QuickGELU" if config["model_cfg"].get("quick_gelu") else "GELU"
    timm_name = config["model_cfg"]["vision_cfg"].get("timm_model_name")
    return f"{act} (texts), that of timm's {timm_name} (images)" if timm_name else act


def first_line(error: BaseException) -> str:
    """Put the error of a library into one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _refuse_elsewhere(vision: Mapping[str, Any], text: Mapping[str, Any], *, name: str) -> None:
    """Raises UserError for an encoder or tokenizer that loading would look for on the hub or in a folder."""
    if text.get("hf_model_name"):
        raise UserError(
            f"the text encoder of {name} lies elsewhere: {str(text['hf_model_name'])[:80]!r} of transformers",
            hint="mmcoa takes models whose encoders are both open_clip's or timm's own",
        )
    timm_name = vision.get("timm_model_name")
    if timm_name and not (isinstance(timm_name, str) and timm.is_model(timm_name)):
        raise UserError(f"timm has no image encoder called {str(timm_name)[:80]!r}", hint="timm.list_models() has all")
    settings = text.get("tokenizer_kwargs") or {}
    for key, value in settings.items() if isinstance(settings, dict) else [("tokenizer_kwargs", settings)]:
        if not isinstance(value, TOKENIZER_SETTINGS.get(key, ())):
            raise UserError(
                f"the configuration of {name} sets {str(key)[:40]!r} of its tokenizer, which is not taken over",
                hint=f"it may set {', '.join(TOKENIZER_SETTINGS)}",
            )


def _refuse_giants(node: Any, *, name: str, depth: int) -> None:
    """Raises UserError for numbers that no model has, at any depth."""
    values = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    number = isinstance(node, (int, float))
    if depth > 8 or len(values) > 100 or (number and not (math.isfinite(node) and abs(node) <= MAX_NUMBER)):
        raise UserError(f"the configuration of {name} describes a model larger than any there is", hint=SEE)
    for value in values:
        _refuse_giants(value, name=name, depth=depth + 1)


def _layers(model: Mapping[str, Any]) -> float:
    layers = [part.get("layers", 0) for part in model.values() if isinstance(part, dict)]
    return sum(_number(one) for part in layers for one in (part if isinstance(part, list) else [part]))


def _number(value: Any) -> float:
    """The number itself, or the largest of several; 0 for anything else, which building then refuses."""
    if isinstance(value, (list, tuple)):
        return max(map(_number, value), default=0)
    return float(value) if isinstance(value, (int, float)) else 0
