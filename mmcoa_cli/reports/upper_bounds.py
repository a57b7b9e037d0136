"""By how many points an attack overestimates what a stricter one leaves, where a report has both in the same ball."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..attacks.base import ATTACKS

if TYPE_CHECKING:
    from .lines import Line
    from .rows import Row

ALIKE = (  # what two results must agree on
    "run", "weights", "epoch", "dataset", "data", "metric", "n", "limit", "seed", "precision", "pixel_size", "norm",
    "eps",
)  # fmt: skip


def overestimates(lines: Iterable[Line], rows: Sequence[Row]) -> list[str]:
    """A remark for each of the lines that shows a stricter attack, with the weaker one among `rows`."""
    strict = [(line, row, _weaker(row)) for line in lines for row in line.rows if _weaker(row)]
    names = {weak for _, _, weak in strict}
    others = {(row.attack, *_measured(row)): row for row in rows if row.attack in names}
    found: dict[tuple[str, str, str], list[float]] = {}
    for line, row, weak in strict:
        other = others.get((weak, *_measured(row)))
        if other is not None:
            found.setdefault((line.label, weak, row.attack), []).append(other.value - row.value)
    return [_in_words(*named, differences) for named, differences in found.items()]


def _weaker(row: Row) -> str:
    """The attack that this result's is stricter than; empty where there is none."""
    return ATTACKS[row.attack].stricter_than if row.attack in ATTACKS else ""


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ALIKE)


def _in_words(label: str, weak: str, strict: str, differences: Sequence[float]) -> str:
    """ "mmcoa, 5-shot: image overestimates by 1.20 points what stands against autoattack"."""
    points = 100 * sum(differences) / len(differences)
    over = f", on average over {len(differences)} results" if len(differences) > 1 else ""
    if round(points, 2) <= 0:
        return f"{label}: {strict} fools no more than {weak}{over}"
    return f"{label}: {weak} overestimates by {points:.2f} points what stands against {strict}{over}"
