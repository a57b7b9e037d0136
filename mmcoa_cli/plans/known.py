"""What the index and the store have already, asked without loading a tensor.

A result counts as there when it was made by the very options asked for, its files are there, and the weights, the data
and the masked LM that it was made with are those that lie there now under their names. Where this errs, it errs towards
doing: the work itself finds what is stored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..jobs.continuing import spec_of
from ..jobs.specs import EvaluationSpec, options_in
from ..jobs.training_spec import TrainSpec
from ..jobs.used import unused_in_test, unused_in_training
from ..models.epochs import path_of
from ..models.present import Present
from ..reports.rows import data_of
from ..settings import Home

if TYPE_CHECKING:
    from store.schema import Evaluation, Run

# options that do not decide what comes out of a test of one checkpoint, dataset and attack
NOT_DECIDING = {"checkpoint", "datasets", "attacks", "limit", "batch_size"}


@dataclass(frozen=True)
class Known:
    """The runs and evaluations of the index; `Known(home)` knows of none."""

    home: Home
    runs: tuple[Run, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    present: Present = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "present", Present(self.home))

    @classmethod
    def of(cls, home: Home) -> Known:
        """All that the index holds. An index that is not there yet is not begun."""
        file = home.database_url.removeprefix("sqlite:///")
        if file != home.database_url and not Path(file).exists():
            return cls(home)
        from store.index import Index

        index = Index(home.database_url)
        runs = tuple(index.runs())
        return cls(home, runs, tuple(evaluation for _, evaluation in index.evaluations()))

    def run(self, spec: TrainSpec) -> str | None:
        """The id of the finished run of this specification, whose last epoch is there."""
        for run in self.runs:
            alike = run.kind == "train" and _deciding(spec_of(run)) == _deciding(spec)
            if alike and run.status == "complete" and self._is_there(run, spec) and self._is_of_today(run, spec):
                return run.id
        return None

    def _is_there(self, run: Run, spec: TrainSpec) -> bool:
        return path_of(self.home.checkpoints / run.id, spec.epochs).is_dir()

    def _is_of_today(self, run: Run, spec: TrainSpec) -> bool:
        """Whether the run started from what lies under the names of its model, data and masked LM now."""
        said = json.loads(run.spec)
        made_of = (said.get("base"), said.get("data_key"), said.get("mlm_weights"))
        mlm = self.present.mlm(spec.mlm) if said.get("mlm_weights") else said.get("mlm_weights")
        return made_of == (self.present.model(spec.model), self.present.data(spec.dataset), mlm)

    def zero_shot(self, model: str) -> str | None:
        """The id of the model's row among the runs."""
        return next((run.id for run in self.runs if run.kind == "zero-shot" and run.model == model), None)

    def missing(self, run: str | None, spec: EvaluationSpec) -> tuple[str, ...]:
        """The attacks of `spec` under which the run, as it is now, was not tested yet."""
        (dataset,) = spec.datasets
        row = next((known for known in self.runs if known.id == run), None)
        found = [e for e in self.evaluations if e.run_id == run and e.dataset == dataset]
        return tuple(a for a in spec.attacks if not (row and any(self._is(e, a, spec, row) for e in found)))

    def _is(self, found: Evaluation, attack: str, spec: EvaluationSpec, run: Run) -> bool:
        """Whether an evaluation is what `spec` asks for under `attack`."""
        ignored = NOT_DECIDING | unused_in_test([attack])
        asked, made = asdict(spec), asdict(EvaluationSpec("", ())) | options_in(found.spec, EvaluationSpec)
        whole = found.limit is None and (spec.limit is None or spec.limit >= found.n)
        return (
            found.attack == attack
            and all(made[name] == value for name, value in asked.items() if name not in ignored)
            and (whole or found.limit == spec.limit)
            and self._is_as_now(found, run)
            and (self.home.examples / f"{found.examples}.h5").exists()
        )

    def _is_as_now(self, found: Evaluation, run: Run) -> bool:
        """Whether an evaluation is of the weights, the data and the masked LM that lie there now."""
        examples: dict[str, Any] = json.loads(found.spec).get("examples", {})
        mlm = examples.get("text", {}).get("mlm")
        made_of = (found.weights, data_of(examples), mlm)
        now = self.present.mlm(found.mlm) if found.mlm else None
        return made_of == (self.present.weights(run), self.present.data(found.dataset), now)


def _deciding(spec: TrainSpec) -> TrainSpec:
    """The specification with what its method does not use as it is by default."""
    if spec.method not in catalog.methods():  # of another version
        return spec
    plain, unused = TrainSpec(spec.method), unused_in_training(spec.method, tested=False)
    own = {name: value for name, value in vars(plain).items() if name in unused}
    return replace(spec, **own, options={name: v for name, v in spec.options.items() if name not in unused})
