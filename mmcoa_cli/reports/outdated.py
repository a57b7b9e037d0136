"""Results of what has been replaced since under its name: marked, named in labels, and never in a line with others."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..models.current_digests import DIGESTS, Present

if TYPE_CHECKING:
    from store.schema import Run

    from .rows import Row
    from .threats import Threat

    Made = tuple[Threat, int]


def replaced(row: Row, run: Run, present: Present | None) -> dict[str, bool]:
    """What has been replaced since a result was measured, as fields of its row; nothing where nothing is known. Digests
    of version 0.1 say nothing about models."""
    compared: dict[str, tuple[str, str]] = {}  # then and now
    if present:
        compared["data"] = row.data, present.data(row.dataset)
    if present and row.digests == DIGESTS:
        compared["weights"] = row.weights, present.weights(run, row.setting.get("epoch"))
        compared["mlm"] = row.mlm_weights, present.mlm(row.mlm) if row.mlm else ""
        compared["base"] = row.base, present.model(run.model)
    changed = {name for name, (then, now) in compared.items() if then and now and then != now}
    return {f"earlier_{name}": name in changed for name in ("weights", "data", "mlm", "base")}


def old_code(every: Collection[Made]) -> set[Made]:
    """Those of threat models and digests that other results have of a newer version of the code, or of mmcoa."""
    newest: dict[str, int] = {}
    for made in every:
        for name, version in _versions(*made).items():
            newest[name] = max(version, newest.get(name, version))
    return {made for made in every if any(v < newest[name] for name, v in _versions(*made).items())}


def _versions(threat: Threat, digests: int) -> dict[str, int]:
    """Of the code of each part of the attack, where it is told, and of the digests."""
    own = {name: part["version"] for name, part in threat.parts.items() if isinstance(part.get("version"), int)}
    return {**own, "": digests}


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
