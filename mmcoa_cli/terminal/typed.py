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
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        words += ["-o", f"{name}={text}"]
    return shlex.join(words)


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the `settings` that have to be typed: those that are neither None nor the default."""
    return {name: value for name, value in settings.items() if value is not None and value != defaults[name]}
