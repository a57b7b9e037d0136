"""What a report lacks, as it is shown; `plans/lacking.py` finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .. import catalog
from ..settings import Home
from .rows import Row

if TYPE_CHECKING:
    from store.schema import Run


@dataclass(frozen=True)
class Missing:
    """Commands that fill a report: `entries` for each result, run or dataset, as JSON has them; `lines` for people."""

    entries: tuple[dict[str, str], ...] = ()
    lines: tuple[str, ...] = ()


class Finder(Protocol):
    """Finds what `rows`, the report of a table under `attacks`, lack; `runs` are all of the index."""

    def __call__(
        self, runs: Sequence[Run], rows: Sequence[Row], *, table: catalog.TableRow, attacks: tuple[str, ...], home: Home
    ) -> Missing: ...


def nothing(*_: object, **__: object) -> Missing:
    """For a report that is not asked what it lacks."""
    return Missing()
