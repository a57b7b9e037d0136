"""Dataclasses of options as the options of a command: several commands share one, and hand it on in one piece."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

from .choices import Several


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, where each parameter that is a dataclass is replaced by a parameter for each of its fields.

    A field is annotated as a parameter of a command is, with `Annotated[..., typer.Option(...)]`, and has its default.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
    every: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        every += _fields_of(groups[name]) if name in groups else [_one(name, hints[name], parameter.default)]

    @wraps(command)
    def run(**typed: Any) -> None:
        made = {n: kind(**{f.name: typed.pop(f.name) for f in fields(kind)}) for n, kind in groups.items()}
        command(**made, **typed)

    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in every}
    return run


def _fields_of(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [_one(field.name, hints[field.name], _default(field)) for field in fields(kind)]


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _one(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    if isinstance(default, Several):  # shown as it is typed
        default = str(default)
    for option in getattr(annotation, "__metadata__", ()):
        option.case_sensitive = False  # of a closed set of words
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
