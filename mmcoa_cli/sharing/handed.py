"""What is handed on: a run's model, whole in itself, with what the index says of these very weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from store.errors import UserError
from store.index import Index
from store.schema import Run

from .. import catalog
from ..jobs.training_spec import TrainSpec, stored_spec
from ..models.clip import Clip
from ..models.current_digests import Present
from ..models.library import clip_path, is_clip
from ..models.load import load_subject
from ..models.origins import PUBLISHED, read_record
from ..models.runs import epoch_before_the_last, require_whole, run_of, weights_of
from ..reports.reading import rows_of, together
from ..reports.rows import Row
from ..settings import Home
from .eval_results import under

REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)@\w+")  # how a published model of the hub says where it is from


@dataclass(frozen=True)
class Handed:
    """A model to hand on. `epoch` is that of its run, None for the last; `base` the hub's repository of the model that
    it was trained from, empty where that is not there; `rows` what came out for these weights."""

    run: Run
    epoch: int | None
    clip: Clip
    base: str
    rows: list[Row]

    @property
    def name(self) -> str:
        return f"{self.run.id}-epoch-{self.epoch}" if self.epoch else self.run.id

    @property
    def trained(self) -> bool:
        return self.run.kind == "train"

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What the index says of its run."""
        found: dict[str, Any] = json.loads(self.run.spec)
        return found

    @cached_property
    def training(self) -> TrainSpec:
        """What it was trained with."""
        return stored_spec(self.run.method, self.run.spec)


def find(checkpoint: str, home: Home, *, epoch: int | None = None) -> Handed:
    """The model of a run, in the end or after an `epoch`, or one as it comes, fetched where it is not there.

    Raises UserError for a name that is neither, and for a model that is tested through something around it.
    """
    index = Index(home.database_url)
    run = run_of(checkpoint, home, index)
    before = epoch_before_the_last(run, epoch)
    if before:
        require_whole(run, home, before)
    victim = load_subject(run, home, epoch=before)
    if not isinstance(victim, Clip):
        raise UserError(
            f"{run.id} is something around {run.model} ({catalog.methods()[run.method].title}), which is no CLIP of "
            "itself: it cannot be handed on as one",
            hint=f"in Python, mmcoa.load({run.id!r}) computes through it; mmcoa export {run.model} hands on what is "
            "inside",
        )
    return Handed(run, before, victim, _base(run.model, home, index), _rows(run, weights_of(run, home, before), home))


def _rows(run: Run, weights: str, home: Home) -> list[Row]:
    """The newest results of these weights, on what is in the store now."""
    every = rows_of(together(Index(home.database_url).results(runs=[run.id])), numbers="", present=Present(home))
    told = ((row, (row.dataset, row.attack, row.metric, under(row))) for row in every)
    newest = {of: row for row, of in told if row.weights == weights and not row.earlier}
    return sorted(newest.values(), key=lambda row: row.dataset)


def _base(model: str, home: Home, index: Index) -> str:
    """The hub's repository of a model, or of what a run was trained from."""
    seen: set[str] = set()
    while not is_clip(model, home) and model not in seen and (run := index.run(model)):
        seen.add(model)
        model = run.model
    origin = read_record(clip_path(model, home)).origin
    found = REPOSITORY.fullmatch(origin.source) if origin.kind == PUBLISHED else None
    return found[1] if found else ""
