"""What metrics are called, which of them are told beside others, and their values in percent: all that `runs` needs of
what reports say, so that it starts without the rest."""

from __future__ import annotations

from ..tasks import TASKS

DETAILS = {detail for task in TASKS.values() for detail in task.details}  # metrics that are told beside others
NONE = "–"


def measure_of(metric: str) -> str:
    """What a metric is called whatever the attack."""
    return metric.removeprefix("clean_").removeprefix("robust_")


def percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f}"
