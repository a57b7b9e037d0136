"""The words that reports say alike, whatever their tables look like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..attacks.base import ATTACKS
from ..tasks import TASKS
from .lines import Line
from .metrics import NONE, percent
from .paper import NOTES
from .rows import Row

if TYPE_CHECKING:
    from store.schema import Epoch

    from .times import Timed

GIB = 2**30
BOLD = "bold: the best result of its column, under the same attack; the paper's numbers take no part"
EXPLANATIONS = {  # of signs and words, in the order in which they are printed
    "behind": "p: of the difference to the best, on the same images (exact McNemar test); of many comparisons some are "
    "small by chance",
    "widths": "±: the larger side of the 95% Wilson interval; both ends are in --format csv and json",
    "averages": "± of an average: the datasets' half widths, added in squares, over their number; it is about the "
    "choice of test images, not of datasets",
    "unequal": "averages over other datasets are not comparable; the number before each says over how many it is",
    "seeds": "sd: the standard deviation over seeds, and their number",
    **{sign: f"{sign} {text}" for sign, text in NOTES.items()},
    "collisions": "collisions: adversarial prompts whose new word is another class's name; none where the line is "
    "missing",
    "distinct": "distinct: adversarial prompts that are different to the model; a tie among m classes counts 1/m",
    "success": "attack success: of the queries that were answered without the attack, the share that no longer is",
    "release": "release: trained with the gradient leak of the paper's released code (--compat release)",
    "parts": "compat: trained as the paper's released code does in these parts (--compat)",
}

ALIKE = (  # what two results must agree on
    "run", "weights", "epoch", "dataset", "data", "metric", "n", "limit", "seed", "precision", "pixel_size", "norm",
    "eps",
)  # fmt: skip


def short(value: float) -> str:
    """Three digits that count, never as a power of ten: "0.0123", "1,234"."""
    return f"{value:,.0f}" if value >= 100 else format(Decimal(f"{value:.3g}"), "f")


def fixed(value: float, digits: int = 2) -> str:
    """A value that is no share, as exactly as percentages are told."""
    return f"{value:.{digits + 2}f}"


def memory(size: int | None) -> str:
    return f"{size / GIB:.2f} GiB" if size else NONE


def devices(one: Epoch | Timed) -> str:
    """ "4 x NVIDIA A6000"; one alone without its number."""
    return f"{one.processes} x {one.device}" if one.processes > 1 else one.device


def number(row: Row, value: float, digits: int = 2) -> str:
    """A value of the row's metric: a share in percent, another as it is."""
    task = TASKS.get(row.task)
    return percent(value, digits) if task is None or task.shares else fixed(value, digits)


def in_percent(row: Row) -> str:
    """What is said of its numbers: ", in percent"."""
    task = TASKS.get(row.task)
    return ", in percent" if task is None or task.shares else ""


def plain(text: str) -> str:
    """Names may come from anybody's database: nothing in them moves a cursor or ends a line."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def model_name(row: Row) -> str:
    """The model, and where it is from, unless it is a published one."""
    sha256 = f", sha256 {row.sha256[:8]}" if row.sha256 else ""
    words = {"stand-in": " (a stand-in model)", "own": f" (own weights{sha256})"}
    return row.model + words.get(row.origin, "")


def part_of(row: Row) -> str:
    """What there is of a test set that is only there in part, empty for a whole one."""
    return row.part or ("some classes without any image" if row.partial else "")


def trainings(lines: Sequence[Line]) -> list[str]:
    """Who was trained with which settings that are not the paper's, and on which part, where the label does not say."""
    by_settings: dict[str, list[str]] = {}
    for line in lines:
        row = line.first
        if row.way and len({one.get("w") for one in line.rows}) > 1:
            by_settings.setdefault(f"from {row.way}", []).append(line.label)
        elif row.training and row.training not in line.label:
            by_settings.setdefault(f"trained with {row.training}", []).append(line.label)
        if row.train_part and row.train_part not in line.label:
            by_settings.setdefault(f"trained on a part, {row.train_part}", []).append(line.label)
    return [f"{settings}: {'; '.join(labels)}" for settings, labels in by_settings.items()]


def overestimates(lines: Iterable[Line], rows: Sequence[Row]) -> list[str]:
    """By how many points an attack overestimates what a stricter one leaves in the same ball: a remark for each of the
    lines that shows the stricter one, with the weaker among `rows`."""
    strict = [(line, row, _weaker(row)) for line in lines for row in line.rows if _weaker(row)]
    names = {weak for _, _, weak in strict}
    runs = {row.run for _, row, _ in strict}
    weaker = [row for row in rows if row.attack in names and row.run in runs] if strict else []
    others = {(row.attack, *_measured(row)): row for row in weaker}
    found: dict[tuple[str, str, str], list[float]] = {}
    for line, row, weak in strict:
        other = others.get((weak, *_measured(row)))
        if other is not None:
            found.setdefault((line.label, weak, row.attack), []).append(other.value - row.value)
    return [_in_points(*named, differences) for named, differences in found.items()]


def _weaker(row: Row) -> str:
    """The attack that this result's is stricter than; empty where there is none."""
    return ATTACKS[row.attack].stricter_than if row.attack in ATTACKS else ""


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ALIKE)


def _in_points(label: str, weak: str, strict: str, differences: Sequence[float]) -> str:
    """ "mmcoa, 5-shot: image overestimates by 1.20 points what stands against autoattack"."""
    points = 100 * sum(differences) / len(differences)
    over = f", on average over {len(differences)} results" if len(differences) > 1 else ""
    if round(points, 2) <= 0:
        return f"{label}: {strict} fools no more than {weak}{over}"
    return f"{label}: {weak} overestimates by {points:.2f} points what stands against {strict}{over}"


def setting(rows: Sequence[Row]) -> list[str]:
    """The seeds of `rows`, and what else of their common circumstances is not the default.

    Where the runs were trained with other seeds than they were tested with, both are named.
    """
    row, tested, trained = rows[0], {row.seed for row in rows}, {row.train_seed for row in rows if row.source}
    return [
        *([_seeds(tested)] if trained <= tested else [f"test {_seeds(tested)}", f"training {_seeds(trained)}"]),
        *([row.precision] if row.precision != "fp32" else []),
        *([f"compat {row.compat}"] if row.compat != "none" else []),
    ]


def _seeds(found: set[int]) -> str:
    return f"seed{'s' if len(found) > 1 else ''} {', '.join(map(str, sorted(found)))}"
