"""Results of what has been replaced since under its name: marked, named in labels, and never in a line with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..models.present import DIGESTS, Present

if TYPE_CHECKING:
    from store.schema import Run

    from .rows import Row


def compared(row: Row, run: Run, present: Present) -> Row:
    """The row with what has been replaced since it was measured. Digests of version 0.1 say nothing about that."""

    def other(then: str, now: str) -> bool:
        return bool(row.digests == DIGESTS and then and now and then != now)

    data = present.data(row.dataset)
    of_weights, of_data = (
        other(row.weights, present.weights(run, row.before_the_last)),
        bool(row.data and data and row.data != data),
    )
    of_mlm = other(row.mlm_weights, present.mlm(row.mlm) if row.mlm else "")
    of_base = other(row.base, present.model(run.model))
    if not (of_weights or of_data or of_mlm or of_base):
        return row  # as most are: a copy of each would take longer than all else
    return replace(row, earlier_weights=of_weights, earlier_data=of_data, earlier_mlm=of_mlm, earlier_base=of_base)


def of_code(rows: Sequence[Row]) -> list[Row]:
    """The rows, those marked that older code made than others."""
    newest: dict[str, int] = {}
    for row in rows:
        for name, version in _versions(row).items():
            newest[name] = max(version, newest.get(name, version))
    return [
        replace(row, earlier_code=True) if any(v < newest[name] for name, v in _versions(row).items()) else row
        for row in rows
    ]


def _versions(row: Row) -> dict[str, int]:
    """Of the code of each part of the attack, and of the digests."""
    own = {name: section["version"] for name, section in row.threat.items() if isinstance(section.get("version"), int)}
    return {**own, "": row.digests}


def state(row: Row) -> tuple[bool, bool, bool, int]:
    """Whether the weights and the data are those of today; results of today come first, and share no line with others.

    (Another masked LM or attack is another threat model, and has a table of its own.)
    """
    return (row.earlier_weights, row.earlier_data, row.earlier_base, -row.digests)


def words(row: Row) -> list[str]:
    """What weights and data of a result have been replaced since under their name."""
    return [
        *([f"of earlier weights {row.weights[:8]}"] if row.earlier_weights else []),
        *([f"started from an earlier {row.model}"] if row.earlier_base and not row.earlier_weights else []),
        *([f"on an earlier {row.dataset}"] if row.earlier_data else []),
        *(["by an earlier version of mmcoa"] if row.earlier_code and row.digests < DIGESTS else []),
    ]
