"""Commands of this program as a person types them: what reports and plans tell to type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# options of attacks and losses that have a name of their own on the command line; others are -o NAME=VALUE
NAMED = ("norm", "eps", "alpha", "steps", "stop_when_fooled", "no_collisions", "contrast")


def typed(
    verb: str, options: Mapping[str, Any], *, names: Sequence[str] = (), rare: Mapping[str, Any] | None = None
) -> str:
    """The command line; an option that is True is a flag. `rare` are options of attacks and losses."""
    words, rare = ["mmcoa", verb, *names], rare or {}
    for name, value in {**options, **{name: rare[name] for name in NAMED if name in rare}}.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    for name in (name for name in rare if name not in NAMED):
        words += ["-o", f"{name}={rare[name]}"]
    return shlex.join(words)


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The `settings` that have to be typed: those that are there and are not the default."""
    return {name: value for name, value in settings.items() if value is not None and value != defaults[name]}
