"""`-o NAME=VALUE`: options that one attack or method has and others do not, as their settings dataclass declares them.

A field's annotation says what may be typed (str, int, float, bool, a Literal, a tuple of these, any of them or None);
what else a value has to be is the dataclass's own to check. A field with `also` in its metadata has that name as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from store.errors import UserError

from ..names import meant

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Also:
    """Another name for an option."""

    name: str


def parse(texts: Iterable[str], known: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """The values in `texts` ("max_candidates=20") of the options `known`, which have these types.

    `of` says in an error whose options they are ("--attack text"). Raises UserError for what is no assignment, a name
    that is not known, a name twice, and a value of another type.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, assigns, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not assigns or not name:
            raise UserError(f"-o {text} is no NAME=VALUE", hint=_takes(known, of))
        if name not in known:
            raise UserError(f"{of} has no option {name!r}", hint=meant(name, known) or _takes(known, of))
        if isinstance(known[name], Also):
            name = known[name].name
        if name in found:
            raise UserError(f"-o {name} is given twice", hint="give it once")
        found[name] = converted(name, value.strip(), known[name])
    return found


def fields_of(kinds: Iterable[type[Any] | None], *, but: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of these dataclasses with their types, and their other names, but for those named."""
    every = [(field, get_type_hints(kind)[field.name]) for kind in kinds if kind for field in fields(kind)]
    hints = {field.name: hint for field, hint in every}
    others = {field.metadata["also"]: Also(field.name) for field, _ in every if "also" in field.metadata}
    return {name: hint for name, hint in (hints | others).items() if name not in set(but)}


def converted(name: str, text: str, annotation: Any) -> Any:
    """`text` as the type that `annotation` names. Raises UserError where it is none."""
    kinds = [kind for kind in _members(annotation) if kind is not NoneType]
    if NoneType in _members(annotation) and text.lower() == "none":
        return None
    for kind in kinds:
        found = _as(kind, text)
        if found is not None:
            return found
    takes = " or ".join(_in_words(kind) for kind in kinds)
    raise UserError(f"-o {name}={text}: {text!r} is not {takes}", hint=f"-o {name}=VALUE takes {takes}")


def _members(annotation: Any) -> tuple[Any, ...]:
    """int and None of `int | None`; the annotation itself where it is no union."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _as(kind: Any, text: str) -> Any:
    """`text` as this type, None where it is none. Raises TypeError for a type that no text can be."""
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), None)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), text.split(","))
    if kind is bool:
        return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(text.lower())
    if kind in NUMBERS:
        try:
            number = kind(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    if kind is str:
        return text
    raise TypeError(f"{kind} cannot be typed")


def _tuple(kinds: tuple[Any, ...], parts: list[str]) -> tuple[Any, ...] | None:
    """Parts between commas as these types, of which the first is that of all where `...` follows it."""
    if kinds[1:] == (Ellipsis,):
        kinds = kinds[:1] * len(parts)
    found = tuple(_as(kind, part.strip()) for kind, part in zip(kinds, parts, strict=False))
    return found if len(parts) == len(kinds) and None not in found else None


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        every = f"{_in_words(first).partition(' ')[2]}s"
        return f"{every} with commas between them" if rest == [Ellipsis] else f"{1 + len(rest)} {every}, as in A,B"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return "true or false" if kind is bool else NUMBERS.get(kind, "a text")


def _takes(known: Iterable[str], of: str) -> str:
    names = ", ".join(known)
    return f"{of} takes -o with {names}" if names else f"{of} takes no -o: leave it out"
