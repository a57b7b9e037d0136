"""Look for what a job needs before anything heavy is imported: a wrong name should not cost ten seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from store.dataset_info import DatasetInfo
from store.datasets import Dataset
from store.errors import UserError
from store.index import Index

from .. import catalog, tasks
from ..attacks.base import needs_masked_lm
from ..datasets.library import BROKEN, absent, dataset_path, is_stored, other_kind
from ..datasets.sampling import few_shot
from ..models.library import ensure_clip, ensure_mlm, is_clip, registered, require_clip_name, require_mlm_name
from ..models.runs import require_known
from ..settings import Home
from ..terminal.console import say
from ..terminal.typed import typed
from .job import Job
from .subject import Subject, find_subject
from .tracking import require_tracker
from .training_spec import TrainSpec

OFFLINE = "with no network: mmcoa demo, or --dataset digits --model tiny-clip --mlm tiny-mlm"


@dataclass(frozen=True)
class Resolved:
    """What the names of a job stand for. `subject` is what is tested; None where that is trained first."""

    subject: Subject | None = None


def resolve(job: Job, home: Home, *, fetch: bool = True) -> Resolved:
    """See that the datasets are in the store, bring the models there that are not, and find what is tested; without
    `fetch` the models are left where they are, and what is tested is not looked for.

    Raises UserError that says what is missing, how to get it, and what needs no network.
    """
    train, tests = job.train, job.tests
    require_tracker(job.conduct.track)
    trains = train is not None and bool(catalog.lookup(catalog.methods(), train.method, "method").loss)
    tested = dict.fromkeys((name, tasks.lookup(test.task).captions) for test in tests for name in test.datasets)
    for name in dict.fromkeys([*([train.dataset] if train and trains else []), *(name for name, _ in tested)]):
        _require_dataset(name, home)
    if train and trains:
        _require_kind(train.dataset, home, captions=False)
        _require_training_images(train, home)
    for name, captions in tested:
        _require_kind(name, home, captions=captions)
        _require_test_images(name, home, after_training=train is not None)
    if tests and not train:
        require_known(tests[0].checkpoint, home)
    for name in models_of(job, home):
        require_clip_name(name, home)
    for name in mlms_of(job):
        require_mlm_name(name, home)
    if not fetch:
        return Resolved()
    try:
        for name in models_of(job, home):
            ensure_clip(name, home)
    except UserError as error:
        raise _elsewhere(error, OFFLINE) from error
    try:
        for name in mlms_of(job):
            ensure_mlm(name, home)
    except UserError as error:
        raise _elsewhere(error, *_other_words(home), _without_words(job), OFFLINE) from error
    return Resolved(find_subject(tests[0], home) if tests and not train else None)


def warn(job: Job) -> None:
    """Print a warning for each attack that is weaker than its settings look. It is run as asked."""
    settings: list[Any] = []
    if job.train and job.train.row.loss:
        settings += [job.train.attack(name) for name in job.train.row.attacks]
    settings += [test.settings(part) for test in job.tests for part in test.parts]
    for caution in dict.fromkeys(found.caution for found in settings):
        if caution:
            say(f"warning: {caution}")


def models_of(job: Job, home: Home) -> Iterator[str]:
    """The models that are loaded: what a training starts from, unless it is a run, or what is tested as it comes."""
    if job.train:
        if is_clip(job.train.model, home) or Index(home.database_url).run(job.train.model) is None:
            yield job.train.model
    elif job.evaluate and job.evaluate.checkpoint and is_clip(job.evaluate.checkpoint, home):
        yield job.evaluate.checkpoint


def mlms_of(job: Job) -> Iterator[str]:
    """The masked LMs that words are taken from."""
    if job.train and needs_masked_lm(job.train.row.attacks):
        yield job.train.mlm
    yield from (test.mlm for test in job.tests if test.takes_words)


def _require_training_images(spec: TrainSpec, home: Home) -> None:
    """Raises UserError where there are none, or fewer of a class than `shots`."""
    path = dataset_path(spec.dataset, home)
    if not path.exists():  # embedded: it is made when it is opened
        return
    with Dataset.open(path) as dataset:
        if not dataset.info.splits.get("train"):
            raise UserError(f"{spec.dataset} has no training images", hint=_divided(dataset.info))
        few_shot(dataset.labels("train"), spec.shots, seed=spec.seed, names=dataset.info.class_names)


def _require_test_images(name: str, home: Home, *, after_training: bool) -> None:
    """Raises UserError where there are none."""
    path = dataset_path(name, home)
    if not path.exists():
        return
    with Dataset.open(path) as dataset:
        if not dataset.info.splits.get("test"):
            anyway = "--no-evaluate trains on it all the same, or " if after_training else ""
            raise UserError(f"{name} has no test images to evaluate on", hint=f"{anyway}{_divided(dataset.info)}")


def _elsewhere(error: UserError, *ways: str) -> UserError:
    """`error`, with other ways to go on in its hint, unless that asks which name was meant."""
    return error if error.hint.endswith("?") else UserError(str(error), hint="; ".join([error.hint, *ways]))


def _other_words(home: Home) -> list[str]:
    """The masked LMs that are here, as they are typed."""
    return [f"--mlm {name} is here" for name in registered(home.mlms)[:1]]


def _without_words(job: Job) -> str:
    """What can be done of a job where no masked LM is to be had: what changes no text."""
    if job.train is None:
        return "--attack clean,image needs none"
    if not needs_masked_lm(job.train.row.attacks):
        return "--no-evaluate trains without one, and evaluate --attack clean,image tests without one"
    return "--method tecoa --no-evaluate trains without one, and evaluate --attack clean,image tests without one"


def _divided(info: DatasetInfo) -> str:
    """How to get the split that a dataset does not have: from where it was taken, without what was left out then."""
    if info.name in catalog.datasets():
        return "mmcoa fetch --list shows what others have"
    how: dict[str, Any] = {"from": info.request.get("from") or "PATH", "train_fraction": 0.8, "replace": True}
    if info.template != catalog.TEMPLATE:
        how["template"] = info.template
    if info.request.get("class_names"):
        how["class_names"] = "FILE"
    if info.left_out_counts.get(BROKEN):
        how["skip_broken"] = True
    own = typed("fetch", how, names=[info.name])
    return f"take folders called train and test, or divide what it has: {own}"


def _require_kind(name: str, home: Home, *, captions: bool) -> None:
    """Raises UserError where a dataset has classes and the task needs captions, or the other way round."""
    path, row = dataset_path(name, home), catalog.datasets().get(name)
    found = row.captions if row else Dataset.info_of(path).captions if path.exists() else 0
    if bool(found) != captions:
        raise other_kind(name, captions=captions)


def _require_dataset(name: str, home: Home) -> None:
    row = catalog.datasets().get(name)
    if is_stored(name, home) or (row and row.embedded):
        return
    if row is None:
        raise absent(name, home)
    raise UserError(
        f"the dataset {name} is not in the store",
        hint=f"mmcoa fetch {name}  # or, of what is on this machine, mmcoa fetch {name} --from PATH; {OFFLINE}",
    )
