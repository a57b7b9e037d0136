"""No library may run, or ask to run, code that came with a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.errors import UserError

VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip
MAX_TOKENIZER = 2**26  # bytes; the largest, of 250,000 words, has half of it


def forbid_foreign_code() -> None:
    """Stop transformers, in this process, from running a repository's code and from asking whether to.

    Every call of ours says `trust_remote_code=False` as well; this holds for the calls that other libraries make.
    """
    from transformers import dynamic_module_utils

    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # it then raises instead of asking
    dynamic_module_utils.get_class_in_module = _refuse


def _refuse(*_: Any, **__: Any) -> Any:
    raise ValueError("the model comes with code of its own, which is never run")


def refuse_asking_for_code(config: Any, *, name: str) -> None:
    """Raises UserError for a configuration (as JSON gives it) that names code, or libraries that load some."""
    for key, value in _settings(config):
        if key == "trust_remote_code" and value:
            raise UserError(
                f"the configuration of {name} asks to run code from elsewhere", hint="do not trust this model"
            )
        if key in ("attn_implementation", "_attn_implementation", "experts_implementation") and "/" in str(value):
            raise UserError(f"the configuration of {name} loads code from {str(value)[:80]!r}", hint=_NO_CODE)
        if key == "quantization_config" and value:
            raise UserError(f"the weights of {name} are quantized", hint="take the model in float32 or float16")


def refuse_own_classes(config: Any, *, name: str) -> None:
    """Raises UserError for a configuration of which a class is code that comes with the model (`auto_map`)."""
    if any(key == "auto_map" and value for key, value in _settings(config)):
        raise UserError(f"{name} comes with code of its own, which is never run", hint=_NO_CODE)


def check_tokenizer(files: Mapping[str, Path], *, name: str) -> None:
    """Raises UserError unless these files, by name and size, are those of a tokenizer that transformers knows by
    itself."""
    if not any(vocabulary in files for vocabulary in VOCABULARIES):  # transformers would make up an empty one
        raise UserError(
            f"{name} has no tokenizer", hint="save the tokenizer into the same folder, with save_pretrained"
        )
    for file, path in files.items():
        if path.stat().st_size > MAX_TOKENIZER:
            raise UserError(f"{file} of {name} is larger than that of any tokenizer", hint=_NO_CODE)
    if "tokenizer_config.json" not in files:
        return
    try:
        config = json.loads(files["tokenizer_config.json"].read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"tokenizer_config.json of {name} is damaged", hint="save the tokenizer again") from error
    refuse_asking_for_code(config, name=name)
    refuse_own_classes(config, name=name)
    for key, value in _settings(config):
        if key.endswith(("_file", "_files")) and value:
            raise UserError(f"the tokenizer of {name} lies elsewhere: {key} is {str(value)[:80]!r}", hint=_NO_CODE)


def _settings(config: Any) -> list[tuple[str, Any]]:
    """Go through every key and its value, at any depth."""
    found: list[tuple[str, Any]] = []
    waiting = [config]
    for node in waiting:  # it grows
        if isinstance(node, dict):
            found += [(str(key), value) for key, value in node.items()]
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return found


_NO_CODE = "use a model that transformers knows by itself"
