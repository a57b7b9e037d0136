"""Check a masked LM's folder before transformers builds anything from it."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForMaskedLM

from store.errors import UserError

from .digests import fetch_again, files_of
from .finite import require_finite_weights
from .foreign_code import check_tokenizer, refuse_asking_for_code, refuse_own_classes
from .weights.files import open_weights

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MAX_CONFIG, MAX_NUMBER, MAX_REPEATED = 2**20, 10_000_000, 1000
REPEATED = re.compile(r"layer|depth|block|label|expert|group|head|stage|hop")  # numbers of parts, not their sizes


def check_mlm(folder: Path, *, name: str) -> None:
    """Raises UserError for a folder that is no masked LM, that names code, or that describes a far larger model than
    its weights are."""
    files = files_of(folder)
    hint = fetch_again(folder, name)
    if CONFIG not in files or WEIGHTS not in files:
        raise UserError(f"{name} is no masked LM: it needs {CONFIG} and {WEIGHTS}", hint=hint)
    check_tokenizer(files, name=name)
    config = _read(files[CONFIG], name, hint)
    refuse_asking_for_code(config, name=name)
    if str(config.get("model_type")) not in CONFIG_MAPPING:
        refuse_own_classes(config, name=name)
        raise UserError(f"transformers knows no model of the type {str(config.get('model_type'))[:40]!r}", hint=hint)
    _refuse_giants(config, name=name, key="", depth=0)
    with open_weights(files[WEIGHTS], title=f"{WEIGHTS} of {name}", hint=hint) as opened:
        held = sum(math.prod(weight.shape) for weight in opened.entries[""].values())
    described = _size(config, name=name, hint=hint)
    if described > 2 * held + 100_000:  # two: embeddings that are shared count twice
        raise UserError(
            f"the configuration of {name} describes {described:,} weights, and {WEIGHTS} holds {held:,}", hint=hint
        )


def require_head(folder: Path, *, name: str) -> None:
    """Raises UserError for missing weights: transformers would make them random, with only a warning."""
    load = partial(AutoModelForMaskedLM.from_pretrained, folder, local_files_only=True, trust_remote_code=False)
    model, info = load(use_safetensors=True, output_loading_info=True)
    missing = sorted(info["missing_keys"])
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{name} is no masked LM: {len(missing)} of its weights are missing ({shown})",
            hint="it takes a model with its masked-LM head, such as BertForMaskedLM",
        )
    require_finite_weights(model, name, hint="take another file of weights")


def _read(path: Path, name: str, hint: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf8")) if path.stat().st_size < MAX_CONFIG else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{path.name} of {name} is damaged", hint=hint)
    return config


def _refuse_giants(node: Any, *, name: str, key: str, depth: int) -> None:
    number = isinstance(node, (int, float)) and not isinstance(node, bool)
    most = MAX_REPEATED if REPEATED.search(key) else MAX_NUMBER
    values = (
        node.items() if isinstance(node, dict) else ((key, value) for value in node) if isinstance(node, list) else ()
    )
    if depth > 8 or (number and not (isinstance(node, float) or abs(node) <= most)):
        raise UserError(f"the configuration of {name} describes a model larger than any there is", hint=f"{key or '?'}")
    for inner, value in values:
        _refuse_giants(value, name=name, key=str(inner), depth=depth + 1)


def _size(config: dict[str, Any], *, name: str, hint: str) -> int:
    """Count the weights of a model of this configuration, without allocating any."""
    try:
        known = AutoConfig.for_model(**{**config, "model_type": config["model_type"]})
        with torch.device("meta"):
            model = AutoModelForMaskedLM.from_config(known, trust_remote_code=False)
        return sum(weight.numel() for weight in model.parameters())
    except Exception as error:  # of whatever class the model's own code raises for numbers that do not fit
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"the configuration of {name} is no masked LM's: {reason}", hint=hint) from error
