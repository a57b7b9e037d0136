"""A group of commands of which each is built when it is asked for: what one command is made of, no other has to import.

To list the commands, each needs no more than its name and a line. A value is brought into its type without pydantic,
wherever it has that type already: loading pydantic takes as long as loading typer and rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, get_args

from typer.core import TyperCommand, TyperGroup

from .help_text import quickly

PLAIN = (str, bool, int, float)


class OnDemand(Mapping[str, Any]):
    """Commands by name, in the order of the names."""

    def __init__(self, names: Mapping[str, str], build: Callable[[str], Any]) -> None:
        self._names, self._build, self._built = names, build, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class QuickGroup(TyperGroup):
    """A group whose own options need no pydantic, which most of its commands do without as well."""

    def get_params(self, ctx: Any) -> Any:
        return quick(super().get_params(ctx))


def group(lines: Mapping[str, str], build: Callable[[str], Any]) -> type[TyperGroup]:
    """The class of a group of commands, of which `lines` has the names, each with the first line of its help."""

    class Group(QuickGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes | {"commands": None})
            self.commands: Any = OnDemand(lines, build)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(lines)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            with self._in_a_line_each(), quickly():
                super().format_help(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> Any:
            with self._in_a_line_each():
                return super().shell_complete(ctx, incomplete)

        @contextmanager
        def _in_a_line_each(self) -> Iterator[None]:
            whole, self.commands = self.commands, {name: TyperCommand(name, help=line) for name, line in lines.items()}
            try:
                yield
            finally:
                self.commands = whole

    return Group


def quick(parameters: Any) -> Any:
    """The same parameters, for which typer loads pydantic only where it needs it; a flag that is not typed is False."""
    for one in parameters:
        if getattr(one, "is_flag", False) and one.default is None:
            one.default = False
        if getattr(one, "_runtime_param", one) is None:  # of a typer that has pydantic bring values into their type
            one._runtime_param = _AsItIs()
    return parameters


class _AsItIs:
    """In place of typer's way from a typed value to one of the parameter's type: a value that has it stays."""

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """What typer does, which is asked for what is none of these: no value, one that has its type, a parsed one."""
        kind, several = param.type_descriptor, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        parse = kind.parameter_info.parser
        if parse is not None and not several:
            with suppress(ValueError):  # which typer puts into its own words below
                return parse(value)
        elif type(value) in PLAIN and (value in get_args(kind.annotation) or _is_any(value, kind)):
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _is_any(value: Any, kind: Any) -> bool:
    """Whether a parameter of this kind takes any value of this one's type."""
    return type(value) is kind.annotation and not kind.is_ranged
