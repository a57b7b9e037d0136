"""What an attack takes from the example sets of others: finished ones, or such as are made in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..tasks.base import Columns
    from .making import Making

ADVERSARIAL = "adversarial_prompts"


class Examples(Protocol):
    """An example set in the making, and when it is made: one of the store, or in memory."""

    def blocks(self) -> list[range]: ...
    def write_block(self, number: int, columns: Columns, images: tuple[Any, Any] | None = None) -> None: ...
    def block_columns(self, number: int) -> Columns: ...
    def block_images(self, number: int, start: int, stop: int, clean: Any) -> npt.NDArray[np.float32]: ...
    def made(self, name: str) -> npt.NDArray[Any]: ...
    def finish(
        self, *, texts: Mapping[str, Sequence[str]], notes: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None: ...
    def holds(self, name: str) -> bool: ...
    def columns(self, name: str) -> npt.NDArray[Any]: ...
    def values(self, name: str) -> npt.NDArray[Any]: ...
    def texts(self, name: str) -> list[str]: ...
    def images(self, start: int, stop: int, clean: Any) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Made:
    """A block of a set: its columns, and the images (b, 3, S, S) where the attack makes any."""

    rows: range
    columns: Columns
    images: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Finished:
    """A set that is whole."""

    examples: Examples

    def texts(self) -> list[str]:
        """Those that the attack made."""
        return self.examples.texts(ADVERSARIAL)

    def column(self, name: str, rows: range) -> npt.NDArray[Any] | None:
        """That of some samples, which all are of one block; None where an older version stored none."""
        return self.examples.columns(name)[rows.start : rows.stop] if self.examples.holds(name) else None

    def images(self, rows: range, clean: Any) -> npt.NDArray[np.float32]:
        """Those of such samples, by their clean ones."""
        return self.examples.images(rows.start, rows.stop, clean)

    def columns(self, name: str) -> npt.NDArray[Any]:
        """That of all samples, of a set that is finished."""
        return self.examples.columns(name)

    def values(self, name: str) -> npt.NDArray[Any]:
        """The same, or an array beside them."""
        return self.examples.values(name)


@dataclass
class UnderWay:
    """The same of a set that is made in the same pass, of the same blocks. The block that was made last is in memory;
    of one that an earlier run made, what is needed is read."""

    making: Making
    last: dict[int, Made] = field(default_factory=dict)

    def texts(self) -> list[str]:
        return self.making.adv_texts or []

    def column(self, name: str, rows: range) -> npt.NDArray[Any] | None:
        made = self._block(rows)
        found = made.columns.get(name)
        return None if found is None else found[rows.start - made.rows.start :][: len(rows)]

    def images(self, rows: range, clean: Any) -> npt.NDArray[np.float32]:
        made, number = self._block(rows), self._number(rows)
        if made.images is None:
            return self.making.examples.block_images(number, rows.start, rows.stop, clean)
        return made.images[rows.start - made.rows.start :][: len(rows)]

    def columns(self, name: str) -> npt.NDArray[Any]:
        return self.making.examples.columns(name)

    def values(self, name: str) -> npt.NDArray[Any]:
        return self.making.examples.values(name)

    def _block(self, rows: range) -> Made:
        number = self._number(rows)
        if number not in self.last:
            columns = self.making.examples.block_columns(number)
            self.last = {number: Made(self.making.examples.blocks()[number], columns)}
        return self.last[number]

    def _number(self, rows: range) -> int:
        return rows.start // len(self.making.examples.blocks()[0])


Need = Finished | UnderWay
