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


def remarks(lines: Iterable[Line], rows: Sequence[Row]) -> list[str]:
    """A remark for each of the lines that shows a stricter attack, with the weaker one among `rows`."""
    weaker = {(row.attack, *_measured(row)): row for row in rows}
    found = []
    for line in lines:
        pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
        for row in line.rows:
            than = ATTACKS[row.attack].stricter_than if row.attack in ATTACKS else ""
            other = weaker.get((than, *_measured(row)))
            if other is not None:
                pairs.setdefault((than, row.attack), []).append((other, row))
        found += [_in_words(line.label, *names, of) for names, of in pairs.items()]
    return found


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ALIKE)


def _in_words(label: str, weak: str, strict: str, pairs: Sequence[tuple[Row, Row]]) -> str:
    """ "mmcoa, 5-shot: image overestimates by 1.20 points what stands against autoattack"."""
    points = 100 * sum(one.value - other.value for one, other in pairs) / len(pairs)
    over = f", on average over {len(pairs)} results" if len(pairs) > 1 else ""
    if round(points, 2) <= 0:
        return f"{label}: {strict} fools no more than {weak}{over}"
    return f"{label}: {weak} overestimates by {points:.2f} points what stands against {strict}{over}"
