"""What of a job is not done yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from store.index import Index

from ..attacks.base import with_needs
from ..jobs.known import Known
from ..jobs.worker import Job
from ..models.epochs import epochs_in, number_of
from ..models.library import is_clip
from ..models.runs import NO_RUN
from ..settings import Home


def left_of(job: Job, known: Known) -> Job | None:
    """What is to be done of a job: the epochs that are not there, the attacks that were not run. None for nothing."""
    train, test = job.train, job.evaluate
    if train and train.row.loss:
        run = known.run(train)
        begun = [] if run else epochs_in(known.home.checkpoints / (known.run_id(train) or "-"))
        done = number_of(begun[-1]) if begun else 0
        # of a recipe the last stage is left, whose steps are the usual ones
        train = None if run else replace(train, epochs=train.epochs - done, recipe="") if done else train
        train = None if train and train.epochs < 1 else train
    elif train:
        run, train = known.run(train), None
    else:
        assert test
        run = run_of(test.checkpoint, known.home)
    missing = known.missing(run, test) if test else ()
    if test:
        test = None if not missing else test.changed(attacks=_made_for(missing))
    return replace(job, train=train, evaluate=test) if train or test else None


def _made_for(missing: Iterable[str]) -> tuple[str, ...]:
    return tuple(attack.name for attack in with_needs(missing))


def run_of(checkpoint: str, store: Home) -> Any:
    """The row among the runs of what is tested."""
    if is_clip(checkpoint, store):
        return Known(store).zero_shot(checkpoint, method="clip")
    return Index(store.database_url).find_run(checkpoint, otherwise=NO_RUN)
