"""Model folders of others made into ours: only data is taken over, and only once it is seen to load.

A CLIP becomes open_clip_config.json with open_clip_model.safetensors, a masked LM Hugging Face's config, safetensors
and tokenizer. `source.json` beside them says where it comes from. Files with code in them are left behind.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoModelForMaskedLM

from store.errors import UserError
from store.files import replacing
from store.keys import digest_file

from .attacks.masked_lm import load_masked_lm
from .models import load_clip

CLIP_CONFIG, CLIP_WEIGHTS, MLM_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors", "model.safetensors"
VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip
TOKENIZER_FILES = (
    *VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
)  # fmt: skip
_PREFERRED = (CLIP_WEIGHTS, "open_clip_pytorch_model.safetensors", MLM_WEIGHTS)
_FOREIGN = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, in words. Every model that is not a published one is a stand-in."""

    text: str
    stand_in: bool


def choose_clip_files(names: Sequence[str]) -> list[str]:
    """Of the files of a CLIP: the weights, the configuration if there is one, the tokenizer's. Raises UserError."""
    return [_choose_weights(names), *(n for n in (CLIP_CONFIG, *TOKENIZER_FILES) if n in names)]


def choose_mlm_files(names: Sequence[str]) -> list[str]:
    """Of the files of a masked LM: the weights, the configuration and the tokenizer's. Raises UserError."""
    for needed in (MLM_WEIGHTS, "config.json"):
        if needed not in names:
            raise UserError(f"it has no {needed}", hint="save it with save_pretrained(folder), which writes both")
    if not any(vocabulary in names for vocabulary in VOCABULARIES):  # transformers would make up an empty one
        raise UserError("it has no tokenizer", hint="save the tokenizer into the same folder, with save_pretrained")
    return [MLM_WEIGHTS, "config.json", *(name for name in TOKENIZER_FILES if name in names)]


def save_clip(files: Sequence[Path], target: Path, *, name: str, config: Mapping[str, Any], origin: Origin) -> None:
    """Write a CLIP to the folder `target`. `files` are its weights, then its tokenizer's files; `config` is the
    content of open_clip_config.json. Raises UserError when they do not make a model."""
    _refuse_remote_code(config, name=name)
    weights, *others = files
    with replacing(target) as folder:
        folder.mkdir()
        (folder / CLIP_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf8")
        _write_safetensors(weights, folder / CLIP_WEIGHTS)
        _copy([path for path in others if path.name in TOKENIZER_FILES], folder)
        _write_about(folder, name=name, origin=origin, weights=CLIP_WEIGHTS)
        load_clip(folder, name=name)


def save_mlm(files: Sequence[Path], target: Path, *, name: str, origin: Origin) -> None:
    """Write a masked LM, given by the files of `choose_mlm_files`, to the folder `target`. Raises UserError."""
    _require_whole(files[0])
    with replacing(target) as folder:
        folder.mkdir()
        _copy(files, folder)
        _write_about(folder, name=name, origin=origin, weights=MLM_WEIGHTS)
        load_masked_lm(folder, name=name)
        _require_head(folder, name=name)


def read_config(path: Path) -> dict[str, Any]:
    """The content of an open_clip_config.json. Raises UserError when it is none."""
    try:
        config = json.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is damaged: {error}", hint="copy the model's folder again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise UserError(f'{path.name} has no "model_cfg"', hint="see open_clip's documentation of local folders")
    return config


def local_origin(weights: Path) -> Origin:
    """What a folder on this machine says of itself, if its record is of these very weights; else a stand-in."""
    record = weights.parent / "source.json"
    if record.is_file():
        try:
            about = json.loads(record.read_text(encoding="utf8"))
            if about["sha256"] == digest_file(weights):
                return Origin(str(about["source"]), bool(about["stand_in"]))
        except (ValueError, KeyError, TypeError):
            pass
    return Origin(f"a local copy, {weights.parent.name}", stand_in=True)


def _choose_weights(names: Sequence[str]) -> str:
    safe = [name for name in names if name.endswith(".safetensors")]
    foreign = [name for name in names if name.endswith(_FOREIGN)]
    for preferred in _PREFERRED:
        if preferred in safe:
            return preferred
    for found in (safe, foreign):
        if len(found) == 1:
            return found[0]
    raise UserError(
        "it holds more than one file of weights" if safe or foreign else "it holds no weights",
        hint="give --from the file of weights itself",
    )


def _write_safetensors(weights: Path, target: Path) -> None:
    """Copy safetensors; convert a PyTorch file with `weights_only=True`, which builds tensors and runs nothing."""
    if weights.suffix != ".safetensors":
        save_file(_foreign_tensors(weights), target)
        return
    _require_whole(weights)
    shutil.copyfile(weights, target)


def _require_whole(weights: Path) -> None:
    try:
        with safe_open(weights, framework="pt"):
            pass
    except SafetensorError as error:
        raise UserError(f"{weights.name} is no whole safetensors file: {error}", hint="copy it again") from error


def _foreign_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The state dictionary in a PyTorch file, possibly under "state_dict" and with the prefix "module."."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path.name} holds more than weights, or is damaged, and none of it was run: {reason[:160]}",
            hint="only a plain state dictionary can be taken over; save the weights as safetensors",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = {
        key.removeprefix("module."): tensor.contiguous().clone()
        for key, tensor in (content.items() if isinstance(content, dict) else ())
        if isinstance(key, str) and isinstance(tensor, torch.Tensor)
    }
    if not tensors:
        raise UserError(f"{path.name} holds no weights", hint="it takes a state dictionary of a CLIP")
    return tensors


def _refuse_remote_code(config: Any, *, name: str) -> None:
    """A configuration may reach the tokenizer's loader, which would fetch code if it said so."""
    if "trust_remote_code" in json.dumps(config):
        raise UserError(f"the configuration of {name} asks to run code from elsewhere", hint="do not trust this model")


def _require_head(folder: Path, *, name: str) -> None:
    """A BERT saved without its masked-LM head would load with a random one, and only a warning."""
    load = partial(AutoModelForMaskedLM.from_pretrained, folder, local_files_only=True, trust_remote_code=False)
    _, info = load(use_safetensors=True, output_loading_info=True)
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise UserError(f"{name} is no masked LM: its weights lack {missing}", hint="it takes a BertForMaskedLM")


def _copy(files: Sequence[Path], folder: Path) -> None:
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _write_about(folder: Path, *, name: str, origin: Origin, weights: str) -> None:
    about = {
        "name": name,
        "source": origin.text,
        "stand_in": origin.stand_in,
        "sha256": digest_file(folder / weights),
    }
    (folder / "source.json").write_text(json.dumps(about, indent=2), encoding="utf8")
