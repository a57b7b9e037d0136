"""A group of commands of which each is built when it is asked for: what one command is made of, no other has to import.

Everything that lists the commands (`--help`, the tests) builds all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typer.core import TyperGroup


class OnDemand(Mapping[str, Any]):
    """Commands by name, in the order of the names."""

    def __init__(self, names: tuple[str, ...], build: Callable[[str], Any]) -> None:
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


def group(names: tuple[str, ...], build: Callable[[str], Any]) -> type[TyperGroup]:
    """The class of a group of these commands."""

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes | {"commands": None})
            self.commands: Any = OnDemand(names, build)

        def get_params(self, ctx: Any) -> Any:
            return with_plain_flags(super().get_params(ctx))

    return Group


def with_plain_flags(parameters: Any) -> Any:
    """The same parameters; a flag that is not typed is False, where typer would load pydantic to make that of None."""
    for one in parameters:
        if getattr(one, "is_flag", False) and one.default is None:
            one.default = False
    return parameters
