"""The options that choose among runs and their results. What is listed starts without what tests and trainings take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from .. import catalog
from ..reports.filters import Filter, moment
from ..terminal import choices as c
from . import known
from .output import panel

filters = panel("Filters")


def _filter(names: c.Rows, what: str) -> Any:
    return filters(
        metavar="NAME,...", help=f"Show only {what}, with commas between them.", parser=c.names, show_default="all",
        autocompletion=c.several(names),
    )  # fmt: skip


OnlyDatasets = Annotated[c.Names | None, _filter(known.datasets, "what was trained or tested on these datasets")]
OnlyCheckpoints = Annotated[
    c.Names | None, _filter(known.checkpoints, "these runs (the beginning of an id is enough) and models")
]
OnlyMethods = Annotated[c.Names | None, _filter(catalog.methods, "runs of these methods")]
OnlyModels = Annotated[c.Names | None, _filter(known.models, "runs of these CLIPs")]
Since = Annotated[
    str | None,
    filters(
        metavar="DAY|Nd|Nh", help="Show only what is as new as this day (2026-11-25), or N days or hours (7d, 12h).",
        show_default="all",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Those that were typed; None for all."""

    dataset: OnlyDatasets = None
    checkpoint: OnlyCheckpoints = None
    method: OnlyMethods = None
    model: OnlyModels = None
    since: Since = None

    @property
    def filter(self) -> Filter:
        """Raises UserError for a moment that is none."""
        names = {f"{name}s": tuple(getattr(self, name) or ()) for name in ("dataset", "checkpoint", "method", "model")}
        return Filter(**names, since=moment(self.since) if self.since else "")
