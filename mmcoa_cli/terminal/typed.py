"""Commands of this program as a person types them, for reports and plans to print."""

from __future__ import annotations

import shlex
from collections.abc import Container, Mapping, Sequence
from typing import Any

# the settings of attacks and methods that a verb has by their name; others are typed as -o NAME=VALUE
BY_NAME = {
    "train": ("eps", "alpha", "steps", "contrast", "image_weight", "text_weight"),
    "evaluate": ("norm", "eps", "alpha", "steps", "stop_when_fooled", "no_collisions"),
}


def typed(verb: str, options: Mapping[str, Any], *, names: Sequence[str] = (), settings: Container[str] = ()) -> str:
    """Write the command line. An option that is True is a flag; those that are `settings` of an attack or a method are
    typed as `-o NAME=VALUE` where the verb has no name for them."""
    words, last = ["mmcoa", verb, *names], list[str]()
    for name, value in options.items():
        if name in settings and name not in BY_NAME[verb]:
            last += ["-o", f"{name}={_value(value)}"]
        else:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join([*words, *last])


def _value(value: Any) -> str:
    """As `settings_options.py` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the `settings` that have to be typed: those that are neither None nor the default."""
    return {name: value for name, value in settings.items() if value is not None and value != defaults[name]}
