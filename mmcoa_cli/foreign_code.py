"""No library may run, or ask to run, code that came with a model."""

from __future__ import annotations

from typing import Any

from store.errors import UserError


def forbid_foreign_code() -> None:
    """Switch off, for this process, transformers' question whether to run a repository's code, and its way to run it.

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


def _settings(config: Any) -> list[tuple[str, Any]]:
    """Every key with its value, at any depth."""
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
