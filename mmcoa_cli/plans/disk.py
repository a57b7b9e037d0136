"""What training runs and their tests write, by the sizes of models and of images; and that said before the first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from store.errors import UserError

from .. import catalog
from ..attacks.base import lookup
from ..attacks.radii import LEVELS, fraction
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_before
from ..jobs.job import Job
from ..jobs.known import Known
from ..jobs.preflight import mlms_of, models_of
from ..jobs.training_spec import TrainSpec
from ..models.library import clip_path, is_clip, mlm_path
from ..settings import Home
from ..space import tell_needs
from ..stored.items import size_of
from .selection import Data, look_up
from .speed import images_of, tested

STAND_IN = 14e6  # bytes of a model that is trained on the spot, before it is
WRAPPED = 1e6  # bytes of what a wrapper trains, at most
ALONE, SAMPLE = 20_000, 40  # bytes of a set of examples as such, and of a sample beside its image
CHANNELS = 3
BITS_OF_L2 = 3.0  # of a pixel's change, whose bounds are not known
# measured at 224 pixels: up to 4/255 nearly all values end at a bound (7 to 25 kB an image), beyond less than room for
# all levels is taken (49 to 68 kB at 8/255)
CLOSE, BITS_OF_CLOSE, OF_ROOM = 4, 1.1, 0.76


def of_checkpoints(spec: TrainSpec, home: Home, *, keep: int | None) -> float:
    """Bytes of the epochs that are kept (all, where `keep` is None), beside several of the optimizer's state, which has
    two numbers for each weight."""
    kept = min(spec.epochs, keep or spec.epochs) + (0 if keep == 1 else 2)
    return kept * of_weights(spec, home)


def of_weights(spec: TrainSpec, home: Home) -> float:
    """Bytes of a model that a run ends with."""
    return _of_clip(spec.model, home) if spec.row.fine_tunes else WRAPPED


def of_images_before(spec: TrainSpec, data: Data) -> float:
    """Bytes of the training images that are attacked before the first epoch."""
    test = evaluation_before(spec)
    return _of_set(test, test.attacks[0], data, images_of(spec, data)) if test else 0.0


def of_test(spec: EvaluationSpec, data: Data, *, attacks: Iterable[str]) -> float:
    """Bytes of the examples of these attacks of `spec`."""
    return sum(_of_set(spec, name, data, tested(spec, data)) for name in attacks)


def _of_set(spec: EvaluationSpec, attack: str, data: Data, images: int) -> float:
    return ALONE + images * of_sample(spec, attack, data)


def of_sample(spec: EvaluationSpec, attack: str, data: Data) -> float:
    """Bytes of a sample; of the image of an attack that makes some, by how many levels of change its ball has."""
    if not lookup(attack).images:
        return SAMPLE
    settings, bits = spec.settings(lookup(attack)), BITS_OF_L2
    if getattr(settings, "norm", "") == "linf":
        levels = math.ceil(fraction(settings.eps) * LEVELS)
        bits = BITS_OF_CLOSE if levels <= CLOSE else min(8.0, OF_ROOM * math.log2(2 * levels + 1))
    return SAMPLE + CHANNELS * (spec.pixel_size or data.pixel_size) ** 2 * bits / 8


def _of_clip(name: str, home: Home) -> float:
    """Of a model in the store, of one in the catalog, or of the one that a run started from."""
    if not is_clip(name, home):
        index = home.index_if_there()
        run = index.run(name) if index else None
        return _of_clip(run.model, home) if run else 0.0
    path, row = clip_path(name, home), catalog.models().get(name)
    return size_of(path) if path.exists() else (row.bytes or STAND_IN) if row else 0.0


def written_by(jobs: Sequence[Job], home: Home) -> dict[Job, dict[str, float]]:
    """What each job will write, in bytes, as far as it is not done; nothing of one of which too little is known."""
    known, written = Known(home), dict[Job, dict[str, float]]()
    for job in jobs:
        with suppress(UserError):  # whoever does the job says what is wrong
            left = known.left(job)
            written[job] = of_job(left, home) if left else {}
    return written


def of_job(job: Job, home: Home) -> dict[str, float]:
    """What a job writes, by what that is; nothing where one of its datasets is not known."""
    train, test = job.train, job.evaluate
    names = {*([train.dataset] if train else []), *(test.datasets if test else ())}
    data = {name: found for name in names if (found := look_up(name, home))}
    if len(data) < len(names):
        return {}
    checkpoints = examples = 0.0
    if train and train.row.loss:
        checkpoints = of_checkpoints(train, home, keep=job.keep)
        examples = of_images_before(train, data[train.dataset])
    if test:
        examples += sum(of_test(test, data[name], attacks=test.attacks) for name in test.datasets)
    return {"checkpoints": checkpoints, "examples": examples}


def tell_disk(written: Mapping[Job, Mapping[str, float]], home: Home) -> None:
    """Say what training jobs will write, and the models that they bring."""
    training = {job: parts for job, parts in written.items() if job.train and parts}
    every = Counter[str]()
    for parts in training.values():
        every.update(parts)
    tell_needs({**every, **(_downloads(training, home) if training else {})}, home)


def _downloads(jobs: Iterable[Job], home: Home) -> dict[str, float]:
    """The models that have to be fetched first, as far as their sizes are known."""
    clips = {name: catalog.models().get(name) for job in jobs for name in models_of(job, home)}
    mlms = {name: catalog.mlms().get(name) for job in jobs for name in mlms_of(job)}
    absent = sum(row.bytes for name, row in clips.items() if row and not clip_path(name, home).exists())
    words = sum(row.bytes for name, row in mlms.items() if row and not mlm_path(name, home).exists())
    return {"models": absent + words}
