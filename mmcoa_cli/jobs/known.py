"""What the index and the store have already, asked without loading a tensor.

Run ids and keys of example sets are hashes of identities, which this reads too: what was made by other options, or of
weights, data or a masked LM that were replaced since, has another one. Where this errs, it errs towards doing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from store.datasets import Dataset
from store.errors import UserError

from .. import attacks
from ..attacks.base import with_needs
from ..datasets.library import dataset_path
from ..datasets.sampling import few_shot
from ..models.current_digests import Present
from ..models.epochs import FIRST, epochs_in, epochs_of, has_kept, number_of, path_of
from ..models.interpolation import End, Way
from ..models.library import is_clip
from ..models.runs import NO_RUN, epoch_before_the_last, require_whole, zero_shot_id
from ..settings import Home
from .evaluation_spec import EvaluationSpec
from .job import Job, Outcome
from .subject import Subject, Words
from .training_identity import of_training, run_id
from .training_spec import TrainSpec
from .trials import Trial, trials_of

if TYPE_CHECKING:
    from store.index import Index
    from store.schema import Run


class Known:
    """Asks the index of `home`. One that is not there yet is not begun, and knows nothing."""

    def __init__(self, home: Home) -> None:
        self.home, self._present = home, Present(home)

    def run(self, spec: TrainSpec) -> Run | None:
        """The finished run of this specification, whose last epoch is there; its row, where nothing is trained."""
        if not spec.row.loss:
            return self.zero_shot(spec.model, method=spec.method)
        found = self._index.run(self.run_id(spec)) if self._index else None
        whole = found and found.status == "complete" and path_of(self.home.checkpoints / found.id, spec.epochs).is_dir()
        return found if whole else None

    def zero_shot(self, model: str, *, method: str) -> Run | None:
        """The row among the runs of a model as it comes, or with what a method that trains nothing puts around it."""
        runs, wanted = self._index.runs() if self._index else [], ("zero-shot", model, method)
        return next((run for run in runs if (run.kind, run.model, run.method) == wanted), None)

    def between(self, run: Run, w: float) -> Run | None:
        """The model at `w` on the way to a trained run from what that was trained from, if it is there."""
        weights, model = self._present.weights(run), self._present.model(run.model)
        if self._index is None or not (weights and model):
            return None
        of_a_run = self._index.run(run.model) is not None
        start = End(run.model if of_a_run else zero_shot_id("clip", run.model), model)
        found = self._index.run(Way(start, End(run.id, weights)).run_id(w))
        return found if found and path_of(self.home.checkpoints / found.id, FIRST).is_dir() else None

    def keeps_all(self, run: Run) -> bool:
        """Whether the weights after each of its epochs are there."""
        return has_kept(self.home.checkpoints / run.id, epochs_of(run), keep=None)

    def missing(self, run: Run | None, spec: EvaluationSpec) -> tuple[str, ...]:
        """The attacks of `spec` under which the run, as it is now, was not tested yet on all datasets of `spec`."""
        trials = self.trials(run, spec) if run else []
        if not trials or self._index is None:
            return spec.attacks
        there = [trial.stored(self._index) for trial in trials]
        return tuple(attack for attack in spec.attacks if not all(attack in stored for stored in there))

    def outcome(self, job: Job, subject: Subject | None) -> Outcome | None:
        """What the store has of a job's training, and of its test (of `subject`, where nothing is trained), if it has
        all of it."""
        run = None if job.resume else self.run(job.train) if job.train else subject.run if subject else None
        if run is None or self._index is None or (job.train and not self._whole(run, job.keep)):
            return None
        found = [self.trials(run, test) for test in job.tests]
        trials = [trial for of_test in found for trial in of_test]
        if not all(found) or not all(trial.stored(self._index) == trial.spec.attacks for trial in trials):
            return None
        ids = [trial.evaluation_id(attack) for trial in trials for attack in trial.spec.attacks]
        return Outcome(run.id if job.train else "", ids)

    def _whole(self, run: Run, keep: int | None) -> bool:
        """Whether a run is as it was saved, with the epochs it is to keep; whoever does the work says what is wrong, or
        mends it."""
        if run.kind == "train" and not has_kept(self.home.checkpoints / run.id, epochs_of(run), keep=keep):
            return False
        try:
            if run.kind == "train":
                require_whole(run, self.home)
        except UserError:
            return False
        return True

    def run_id(self, spec: TrainSpec) -> str:
        """The id that the run has, or would get; empty where something that decides it is not here."""
        takes_words = any(attacks.lookup(name).masked_lm for name in spec.row.attacks)
        weights, mlm = self._present.model(spec.model), self._present.mlm(spec.mlm) if takes_words else ""
        if not weights or (takes_words and not mlm):
            return ""
        try:
            with Dataset.open(dataset_path(spec.dataset, self.home)) as dataset:
                info, labels = dataset.info, dataset.labels("train")
            drawn = few_shot(labels, spec.shots, seed=spec.seed).tolist()
        except (UserError, KeyError):  # not here, no such split, or too few images
            return ""
        return run_id(spec, of_training(spec, info, indices=drawn, weights=weights, mlm=mlm))

    def left(self, job: Job) -> Job | None:
        """What is to be done of a job: the epochs that are not there, the attacks that were not run. None for nothing.

        Raises UserError where what is tested is not there.
        """
        train, test = job.train, job.evaluate
        run = self.run(train) if train else self._tested(test.checkpoint) if test else None
        if train and train.row.loss and run is None:
            begun = epochs_in(self.home.checkpoints / (self.run_id(train) or "-"))
            done = number_of(begun[-1]) if begun else 0
            # of a recipe the last stage is left, whose steps are the usual ones
            if done:
                train = replace(train, epochs=train.epochs - done, recipe="") if done < train.epochs else None
        else:
            train = None
        missing = [attack.name for attack in with_needs(self.missing(run, test))] if test else []
        test = test.changed(attacks=tuple(missing)) if test and missing else None
        return replace(job, train=train, evaluate=test) if train or test else None

    def _tested(self, checkpoint: str) -> Run | None:
        """The row among the runs of what is tested; None for a model that has none yet."""
        if is_clip(checkpoint, self.home):
            return self.zero_shot(checkpoint, method="clip")
        from store.index import Index

        return Index(self.home.database_url).find_run(checkpoint, otherwise=NO_RUN)

    def trials(self, run: Run, spec: EvaluationSpec) -> list[Trial]:
        """What `spec` would compute of the run; nothing where something that decides it is not here."""
        words = Words(spec.mlm, self._present.mlm(spec.mlm)) if spec.takes_words else Words()
        here = [dataset_path(name, self.home).exists() for name in spec.datasets]
        try:
            epoch = epoch_before_the_last(run, spec.epoch)
            weights = self._present.weights(run, epoch)
            if not weights or not all(here) or (spec.takes_words and not words.digest):
                return []
            return trials_of(spec, Subject(run, weights, words, epoch), self.home)
        except UserError:
            return []

    @cached_property
    def _index(self) -> Index | None:
        return self.home.index_if_there()
