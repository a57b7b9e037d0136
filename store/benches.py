"""What benches measured, in the index: written whole, read whole, found by the beginning of a name."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UserError
from .index import Index
from .schema import Measure


class Benches(Index):
    """The index, as far as it holds benches."""

    def save(self, measures: Sequence[Measure]) -> None:
        """Add a bench, whole or not at all. Raises UserError for values that no database would keep."""
        self._save(Measure, measures)

    def every(self) -> list[Measure]:
        """The rows of all benches, the oldest bench first."""
        return self._records(Measure, "ORDER BY created_at, bench, number")

    def find(self, beginning: str) -> list[Measure]:
        """The rows of the bench whose name is or begins with this. Raises UserError where none or several do."""
        every = self.every()
        names = list(dict.fromkeys(one.bench for one in every))
        found = [name for name in names if name == beginning] or [name for name in names if name.startswith(beginning)]
        if len(found) != 1 or not beginning:
            what = "no bench begins" if not found else f"{len(found)} benches begin"
            raise UserError(f"{what} with {beginning!r}", hint="mmcoa bench --list")
        return [one for one in every if one.bench == found[0]]
