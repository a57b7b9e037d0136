"""What the index and the store have already, asked without loading a tensor.

Run ids and keys of example sets are hashes of identities, which this reads too: what was made by other options, or of
weights, data or a masked LM that were replaced since, has another one. Where this errs, it errs towards doing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from store.datasets import Dataset
from store.errors import UserError

from .. import attacks
from ..datasets.library import attacked_at, dataset_path
from ..datasets.sampling import few_shot
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_identity import of_training, run_id
from ..jobs.training_spec import TrainSpec
from ..jobs.trials import Trial, Words
from ..models.epochs import path_of
from ..models.present import Present
from ..models.runs import template_of
from ..settings import Home

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
        found = self._index.run(self._run_id(spec)) if self._index else None
        whole = found and found.status == "complete" and path_of(self.home.checkpoints / found.id, spec.epochs).is_dir()
        return found if whole else None

    def zero_shot(self, model: str, *, method: str) -> Run | None:
        """The row among the runs of a model as it comes, or with what a method that trains nothing puts around it."""
        runs, wanted = self._index.runs() if self._index else [], ("zero-shot", model, method)
        return next((run for run in runs if (run.kind, run.model, run.method) == wanted), None)

    def missing(self, run: Run | None, spec: EvaluationSpec) -> tuple[str, ...]:
        """The attacks of `spec` under which the run, as it is now, was not tested yet on the one dataset of `spec`."""
        trial = self._trial(run, spec) if run else None
        if trial is None or self._index is None:
            return spec.attacks
        ids = {attack: trial.evaluation_id(attack) for attack in spec.attacks}
        there = {result.evaluation for _, result in self._index.results(evaluations=list(ids.values()))}
        return tuple(a for a in spec.attacks if ids[a] not in there or not trial.examples(a).complete)

    def _run_id(self, spec: TrainSpec) -> str:
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

    def _trial(self, run: Run, spec: EvaluationSpec) -> Trial | None:
        """What `spec` would compute; None where something that decides it is not here."""
        weights, path = self._present.weights(run), dataset_path(spec.datasets[0], self.home)
        words = Words(spec.mlm, self._present.mlm(spec.mlm)) if spec.takes_words else Words()
        if not weights or not path.exists() or (spec.takes_words and not words.digest):
            return None
        try:
            template = template_of(run, self.home, self._index) if self._index else ""
            dataset = attacked_at(Dataset.open(path), spec.pixel_size)
            return Trial(spec, self.home, run, weights, dataset, words, template)
        except UserError:
            return None

    @cached_property
    def _index(self) -> Index | None:
        from store.index import Index

        file = self.home.index_file
        return Index(self.home.database_url) if file is None or file.exists() else None
