"""What open_clip knows of published CLIP models: architecture, preprocessing and the repository of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import open_clip

from store.errors import UserError

from ..catalog import ModelRow
from .weights.files import Weights
from .weights.tensors import Weight


@dataclass(frozen=True)
class Published:
    """`config` is the content of open_clip_config.json, `repository` the one on Hugging Face with the weights."""

    config: dict[str, Any]
    repository: str


def published(row: ModelRow) -> Published:
    """The model of a catalog row, or of a name of the form ARCH:TAG. Raises UserError, naming close ones."""
    architecture, tag = _parts(row)
    known = {f"{a}:{t}": open_clip.get_pretrained_cfg(a, t) for a, t in open_clip.list_pretrained()}
    about = known.get(f"{architecture}:{tag}")
    if not about:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        close = [f"{architecture}:{t}" for t in tags] or get_close_matches(row.name, known, n=3, cutoff=0.3)
        raise UserError(
            f"open_clip has no published model {row.name!r}",
            hint=f"did you mean {' or '.join(close[:4])}?" if close else "mmcoa fetch NAME --from FOLDER registers one",
        )
    config = architecture_config(row)
    if about.get("quick_gelu"):  # weights trained with it lose accuracy silently without it
        config["model_cfg"]["quick_gelu"] = True
    repository = "/".join(about["hf_hub"].split("/")[:2])  # what follows names the file of weights
    return Published({**config, "preprocess_cfg": _preprocessing(about)}, repository)


def architecture_config(row: ModelRow) -> dict[str, Any]:
    """open_clip_config.json for weights whose architecture only the row or its name tells, with the preprocessing that
    all of its published weights have. Raises UserError."""
    architecture, _ = _parts(row)
    model = open_clip.get_model_config(architecture)
    if model is None:
        raise UserError(
            f"the architecture of {row.name} is not known",
            hint="put open_clip_config.json beside the weights, or use open_clip's name of it: ViT-B-16:mine",
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    every = [_preprocessing(open_clip.get_pretrained_cfg(architecture, tag)) for tag in tags] or [{}]
    agreed = {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
    return {"model_cfg": model, "preprocess_cfg": agreed}


def _preprocessing(about: Mapping[str, Any]) -> dict[str, Any]:
    """`preprocess_cfg` of a published model: SigLIP's images are squashed, and of mean and deviation 1/2."""
    return {key: about[key] for key in ("mean", "std", "interpolation", "resize_mode") if about.get(key)}


def _parts(row: ModelRow) -> tuple[str, str]:
    """Architecture and pretrained tag."""
    architecture, _, tag = row.name.partition(":")
    return row.architecture or architecture, row.pretrained or tag


def openai_source(sha256: str) -> str:
    """The address of OpenAI's file with this SHA-256, which the address names; empty for any other file."""
    for architecture, tag in open_clip.list_pretrained():
        url = str((open_clip.get_pretrained_cfg(architecture, tag) or {}).get("url", ""))
        if tag == "openai" and f"/{sha256}/" in url:
            return url
    return ""


def similar(weights: Weights) -> list[str]:
    """open_clip's architectures whose image encoder has the shapes of the file's, as far as three tensors tell."""
    tensors = max(weights.entries.values(), key=len)
    found = []
    for name in open_clip.list_models():
        model = open_clip.get_model_config(name)
        expected = _telling_shapes(model)
        if expected and all(_has(tensors, ending, shape) for ending, shape in expected.items()):
            found.append(name)
    return sorted(found, key=len)


def _telling_shapes(model: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    vision = model["vision_cfg"]
    width, patch, side = vision.get("width"), vision.get("patch_size"), vision.get("image_size")
    if not isinstance(vision.get("layers"), int) or "timm_model_name" in vision or not isinstance(side, int):
        return {}
    return {
        "conv1.weight": (width, 3, patch, patch),
        "positional_embedding": ((side // patch) ** 2 + 1, width),
        "proj": (width, model["embed_dim"]),
        f"resblocks.{vision['layers'] - 1}.ln_1.weight": (width,),
    }


def _has(tensors: Mapping[str, Weight], ending: str, shape: tuple[int, ...]) -> bool:
    return any(name == ending or name.endswith(f".{ending}") for name, w in tensors.items() if w.shape == shape)
