"""A masked LM of the store that is loaded when it is asked: its digest, and what it said before, need no torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .digests import model_digest

if TYPE_CHECKING:
    from ..settings import Home
    from .masked_lm import MaskedLM


class AnyMaskedLM(Protocol):
    """One that is loaded, or can be. What it says is remembered in the folder `memory`, where there is one."""

    @property
    def name(self) -> str: ...
    @property
    def memory(self) -> Path | None: ...
    @property
    def loaded(self) -> MaskedLM: ...
    def digest(self) -> str: ...


class StoredLM:
    """The masked LM `name`, which lies in `folder`."""

    def __init__(self, name: str, home: Home, folder: Path) -> None:
        self.name, self._home, self.memory = name, home, folder

    def digest(self) -> str:
        """That of `MaskedLM.digest`."""
        return model_digest(self.memory, name=self.name)

    @cached_property
    def loaded(self) -> MaskedLM:
        """Raises UserError for one that is not what was fetched."""
        from .subjects import load_mlm

        return load_mlm(self.name, self._home)


def stored_mlm(name: str, home: Home) -> StoredLM:
    """The masked LM `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    from .library import ensure_mlm

    return StoredLM(name, home, ensure_mlm(name, home))
