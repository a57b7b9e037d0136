"""The paper's number beside one of ours: where there is one, and what sets the two apart.

A number is given only where the attack is the paper's (the catalog says with which settings it ran) and the dataset is
the catalog's. Where the model, the text attack or the training is another, it is given with a mark: nobody should take
the two for the same measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from .. import catalog
from .threats import Threat, is_within

if TYPE_CHECKING:
    from .rows import Row

PAPER = catalog.paper_settings()
NOTES = {
    "†": f"the paper's models are OpenAI's CLIP ViT-B/32 and, in text attacks, {PAPER.mlm}",
    "‡": "the paper's text attack is that of its released code (--compat release); this one is aligned",
    "§": "trained with other settings than the paper's",
    "¶": "trained on a part of the paper's training images",
}


def numbers(row: Row, *, task: str) -> tuple[float | None, float | None]:
    """The paper's values of a row's metric, fractions, for its method, data and attack: after training on as many
    images, and on all where these are fewer; None where it has none to compare."""
    own, full = _numbers_of(task, row.source, row.shots, row.method, row.training, row.dataset, row.attack, row.measure)
    if own is full is None or row.before_the_last or row.way or row.partial or row.part or not _whole(row):
        return None, None
    return (own, full) if _same_attack(row.threat, task) else (None, None)


def marks(row: Row) -> str:
    """The signs (keys of NOTES) that the paper's number takes beside this row; empty where the two are alike."""
    called = (
        row.model not in PAPER.models or row.origin != "published" or row.mlm not in (None, PAPER.mlm),
        row.mlm is not None and PAPER.compat not in row.compat.split(","),
        bool(row.training) and not any(_words(told) == _trained(row.training) for told in PAPER.variants.values()),
        bool(row.train_part),
    )
    return "".join(sign for sign, wanted in zip(NOTES, called, strict=True) if wanted)


def note(signs: str) -> str:
    """What marks say, for formats that have no footnotes."""
    return "; ".join(NOTES[sign] for sign in signs)


@lru_cache(maxsize=4096)  # many runs and seeds have the same
def _numbers_of(
    task: str, source: str, shots: str, method: str, training: str, *tested: str
) -> tuple[float | None, float | None]:
    """After training on as many images, and on all where these are fewer."""

    def of(shots: str) -> float | None:
        keys = ((task, source, shots, name, *tested) for name in _names(method, training))
        return next((_numbers()[key] for key in keys if key in _numbers()), None)

    return of(shots), of("full") if shots != "full" else None


def _names(method: str, training: str) -> list[str]:
    """What the paper's numbers call a method: trained with options of its own first, as it is last."""
    variants = PAPER.variants.items() if training else ()
    own = [name for name, told in variants if told["method"] == method and _words(told) <= _trained(training)]
    return [*own, method]


def _trained(training: str) -> set[str]:
    return {*training.split(", ")}


def _words(told: Mapping[str, Any]) -> set[str]:
    """Options of training as a row's `training` has them."""
    return {f"{name.replace('_', ' ')} {value}" for name, value in told.items() if name != "method"}


@lru_cache(maxsize=4096)
def _same_attack(threat: Threat, task: str) -> bool:
    """Whether every part of the attack ran with the settings that the paper's did."""
    return is_within(threat, PAPER.of_task.get(task, PAPER.threat))


@cache
def _numbers() -> dict[tuple[str, ...], float]:
    """Values by task, source, shots, method, dataset, attack and metric; Table VII repeats numbers of Table I."""
    return {
        (entry.task, entry.source, entry.shots, entry.method, entry.dataset, entry.attack, entry.metric): entry.value
        for entry in catalog.paper()
    }


def _whole(row: Row) -> bool:
    """Whether the images are the catalog's test set, or a subset drawn from it; some metrics count their captions."""
    dataset = catalog.datasets().get(row.dataset)
    if dataset is None:
        return False
    images = dataset.splits.get("test", 0)
    return row.limit is not None or row.n in (images, images * dataset.captions)
