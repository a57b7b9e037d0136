"""Look for what a job needs before anything heavy is imported: a wrong name should not cost ten seconds."""

from __future__ import annotations

from typing import Any

from store.datasets import Dataset
from store.errors import UserError
from store.index import Index

from .. import catalog, tasks
from ..attacks.base import needs_masked_lm
from ..datasets.library import dataset_path, other_kind
from ..datasets.sampling import few_shot
from ..models.library import ensure_clip, ensure_mlm, is_clip
from ..models.runs import NO_RUN, through_wrapper
from ..settings import Home
from ..terminal.console import say
from .training_spec import TrainSpec
from .worker import Job

OTHERS = "fetch it with a folder called test: mmcoa fetch NAME --from PATH"
OFFLINE = "with no network: mmcoa demo, or --dataset digits --model tiny-clip --mlm tiny-mlm"


def require(job: Job, home: Home, *, quiet: bool = False) -> None:
    """See that the datasets are in the store, and bring the models there that are not; unless `quiet`, warn of attacks
    that are weaker than they look.

    Raises UserError that says what is missing, how to get it, and what needs no network.
    """
    train, evaluate = job.train, job.evaluate
    method = catalog.lookup(catalog.methods(), train.method, "method") if train else None
    trained_on = [train.dataset] if train and method and method.loss else []
    takes_captions = evaluate is not None and tasks.lookup(evaluate.task).captions
    datasets = [*trained_on, *(evaluate.datasets if evaluate else [])]
    for name in dict.fromkeys(datasets):
        _require_dataset(name, home)
    for name in trained_on:
        _require_kind(name, home, captions=False)
    if train and trained_on:
        _require_training_images(train, home)
    for name in evaluate.datasets if evaluate else ():
        _require_kind(name, home, captions=takes_captions)
        _require_test_images(name, home, after_training=train is not None)
    if not quiet:
        _warn_of_weak_attacks(job)
    known = train or (evaluate and (is_clip(evaluate.checkpoint, home) or through_wrapper(evaluate.checkpoint, home)))
    if evaluate and not known:
        Index(home.database_url).find_run(evaluate.checkpoint, otherwise=NO_RUN)
    try:
        if train:
            _ensure_base(train.model, home)
        elif evaluate and is_clip(evaluate.checkpoint, home):
            ensure_clip(evaluate.checkpoint, home)
        if train and method and needs_masked_lm(method.attacks):
            ensure_mlm(train.mlm, home)
        if evaluate and evaluate.takes_words:
            ensure_mlm(evaluate.mlm, home)
    except UserError as error:
        raise UserError(str(error), hint=f"{error.hint}; {OFFLINE}") from error


def _ensure_base(name: str, home: Home) -> None:
    """See that what training starts from is there: a run, or a model, which is brought there."""
    if is_clip(name, home) or Index(home.database_url).run(name) is None:
        ensure_clip(name, home)


def _require_training_images(spec: TrainSpec, home: Home) -> None:
    """Raises UserError where there are none, or fewer of a class than `shots`."""
    path = dataset_path(spec.dataset, home)
    if not path.exists():  # embedded: it is made when it is opened
        return
    with Dataset.open(path) as dataset:
        if not dataset.info.splits.get("train"):
            raise UserError(f"{spec.dataset} has no training images", hint="mmcoa fetch --list shows what others have")
        few_shot(dataset.labels("train"), spec.shots, seed=spec.seed)


def _require_test_images(name: str, home: Home, *, after_training: bool) -> None:
    """Raises UserError where there are none."""
    path = dataset_path(name, home)
    if not path.exists():
        return
    with Dataset.open(path) as dataset:
        if not dataset.info.splits.get("test"):
            trains = f"--no-evaluate trains on it all the same, or {OTHERS}" if after_training else OTHERS
            raise UserError(f"{name} has no test images to evaluate on", hint=trains)


def _warn_of_weak_attacks(job: Job) -> None:
    """Print a warning for each attack that is weaker than its settings look. It is run as asked."""
    settings: list[Any] = []
    if job.train and job.train.row.loss:
        settings += [job.train.attack(name) for name in job.train.row.attacks]
    if job.evaluate:
        settings += [job.evaluate.settings(part) for part in job.evaluate.parts]
    for caution in dict.fromkeys(found.caution for found in settings):
        if caution:
            say(f"warning: {caution}")


def _require_kind(name: str, home: Home, *, captions: bool) -> None:
    """Raises UserError where a dataset has classes and the task needs captions, or the other way round."""
    path, row = dataset_path(name, home), catalog.datasets().get(name)
    found = row.captions if row else Dataset.info_of(path).captions if path.exists() else 0
    if bool(found) != captions:
        raise other_kind(name, captions=captions)


def _require_dataset(name: str, home: Home) -> None:
    row = catalog.datasets().get(name)
    if dataset_path(name, home).exists() or (row and row.embedded):
        return
    if row is None:
        catalog.lookup(catalog.datasets(), name, "dataset")
    raise UserError(
        f"the dataset {name} is not in the store",
        hint=f"mmcoa fetch {name}, or mmcoa fetch {name} --from PATH; {OFFLINE}",
    )
