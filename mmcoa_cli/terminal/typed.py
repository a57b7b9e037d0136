"""Commands of this program as a person types them, for reports and plans to print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def typed(
    verb: str, options: Mapping[str, Any], *, names: Sequence[str] = (), own: Mapping[str, Any] | None = None
) -> str:
    """Write the command line. An option that is True is a flag; those of `own` are typed as `-o NAME=VALUE`."""
    words = ["mmcoa", verb, *names]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    for name, value in (own or {}).items():
        words += ["-o", f"{name}={_value(value)}"]
    return shlex.join(words)


def _value(value: Any) -> str:
    """As `settings_options.py` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the `settings` that have to be typed: those that are neither None nor the default."""
    return {name: value for name, value in settings.items() if value is not None and value != defaults[name]}
