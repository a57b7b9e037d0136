"""What training runs and their tests write, said before the first: by the sizes of models and of images.

A dry run measures the same (`measuring.py`); this is for those who do not want to wait for that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from store.errors import UserError
from store.index import Index

from .. import catalog
from ..attacks.base import lookup, with_needs
from ..attacks.radii import LEVELS, fraction
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_before
from ..jobs.job import Job
from ..jobs.known import Known
from ..jobs.preflight import mlms_of, models_of
from ..models.library import clip_path, is_clip, mlm_path
from ..settings import Home
from ..space import tell_needs
from ..stored.items import size_of
from .cost import Disk
from .selection import Data, look_up

STAND_IN = 14e6  # bytes of a model that is trained on the spot, before it is
WRAPPED = 1e6  # bytes of what a wrapper trains, at most
ALONE, SAMPLE = 20_000, 40  # bytes of a set of examples as such, and of a sample beside its image
CHANNELS = 3
BITS_OF_L2 = 3.0  # of a pixel's change, whose bounds are not known
# measured at 224 pixels: up to 4/255 nearly all values end at a bound (7 to 25 kB an image), beyond less than room for
# all levels is taken (49 to 68 kB at 8/255)
CLOSE, BITS_OF_CLOSE, OF_ROOM = 4, 1.1, 0.76


def written_by(jobs: Sequence[Job], home: Home) -> dict[Job, dict[str, float]]:
    """What each job will write, in bytes, as far as it is not done; nothing of one of which too little is known."""
    known, written = Known(home), dict[Job, dict[str, float]]()
    for job in jobs:
        with suppress(UserError):  # whoever does the job says what is wrong
            left = known.left(job)
            written[job] = _of_job(left, home) if left else {}
    return written


def tell_disk(written: Mapping[Job, Mapping[str, float]], home: Home) -> None:
    """Say what training jobs will write, and the models that they bring."""
    training = {job: parts for job, parts in written.items() if job.train and parts}
    every = Counter[str]()
    for parts in training.values():
        every.update(parts)
    tell_needs({**every, **(_downloads(training, home) if training else {})}, home)


def _of_job(job: Job, home: Home) -> dict[str, float]:
    train, test = job.train, job.evaluate
    names = {*([train.dataset] if train else []), *(test.datasets if test else ())}
    data = {name: found for name in names if (found := look_up(name, home))}
    if len(data) < len(names):
        return {}
    checkpoints = examples = 0.0
    if train and train.row.loss:
        offline = evaluation_before(train)
        weights = _size_of_clip(train.model, home) if train.row.fine_tunes else WRAPPED
        disk = Disk({train.method: weights}, _examples(offline, data[train.dataset]) if offline else {})
        checkpoints = disk.checkpoints(train, job.keep)
        examples = disk.offline(train, data[train.dataset])
    for name in test.datasets if test else ():
        disk = Disk({}, _examples(test, data[name]))  # type: ignore[arg-type]
        examples += disk.test(test.on(name), data[name], attacks=test.attacks)  # type: ignore[union-attr]
    return {"checkpoints": checkpoints, "examples": examples}


def _examples(spec: EvaluationSpec, data: Data) -> dict[str, dict[int, tuple[float, float]]]:
    side = spec.pixel_size or data.pixel_size
    values = CHANNELS * side * side
    made = {attack.name: attack for attack in with_needs(spec.attacks)}
    return {
        name: {side: (ALONE, SAMPLE + (values * _bits(spec, name) / 8 if attack.images else 0.0))}
        for name, attack in made.items()
    }


def _bits(spec: EvaluationSpec, attack: str) -> float:
    """Of a value of an image, by how many levels of change the ball has."""
    settings = spec.settings(lookup(attack))
    if getattr(settings, "norm", "") != "linf":
        return BITS_OF_L2
    levels = math.ceil(fraction(settings.eps) * LEVELS)
    return BITS_OF_CLOSE if levels <= CLOSE else min(8.0, OF_ROOM * math.log2(2 * levels + 1))


def _downloads(jobs: Iterable[Job], home: Home) -> dict[str, float]:
    """The models that have to be fetched first, as far as their sizes are known."""
    clips = {name: catalog.models().get(name) for job in jobs for name in models_of(job, home)}
    mlms = {name: catalog.mlms().get(name) for job in jobs for name in mlms_of(job)}
    absent = sum(row.bytes for name, row in clips.items() if row and not clip_path(name, home).exists())
    words = sum(row.bytes for name, row in mlms.items() if row and not mlm_path(name, home).exists())
    return {"models": absent + words}


def _size_of_clip(name: str, home: Home) -> float:
    """Of a model in the store, of one in the catalog, or of the one that a run started from."""
    if not is_clip(name, home):
        run = Index(home.database_url).run(name)
        return _size_of_clip(run.model, home) if run else 0.0
    path, row = clip_path(name, home), catalog.models().get(name)
    return size_of(path) if path.exists() else (row.bytes or STAND_IN) if row else 0.0
