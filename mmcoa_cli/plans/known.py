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
from ..attacks.radii import canonical_or_same
from ..jobs.continuing import spec_of
from ..jobs.specs import EvaluationSpec, TrainSpec
from ..jobs.used import unused_in_test, unused_in_training
from ..models.epochs import path_of
from ..models.present import Present
from ..reports.reading import together
from ..settings import Home

if TYPE_CHECKING:
    from store.index import Index
    from store.schema import Result, Run

# options that do not decide what comes out of a test of one checkpoint, dataset and attack
NOT_DECIDING = {"checkpoint", "datasets", "attacks", "limit", "batch_size"}


@dataclass(frozen=True)
class Known:
    """The runs and results of the index; `Known(home)` knows of none."""

    home: Home
    index: Index | None = None
    runs: tuple[Run, ...] = ()
    present: Present = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "present", Present(self.home))

    @classmethod
    def of(cls, home: Home) -> Known:
        """What the index holds. An index that is not there yet is not begun."""
        file = home.database_url.removeprefix("sqlite:///")
        if file != home.database_url and not Path(file).exists():
            return cls(home)
        from store.index import Index

        index = Index(home.database_url)
        return cls(home, index, tuple(index.runs()))

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
        if row is None or self.index is None:
            return spec.attacks
        found = together(self.index.results(runs=[row.id], datasets=[dataset], attacks=spec.attacks))
        return tuple(a for a in spec.attacks if not any(self._is(one.main, a, spec, row) for one in found))

    def _is(self, found: Result, attack: str, spec: EvaluationSpec, run: Run) -> bool:
        """Whether a result is of what `spec` asks for under `attack`."""
        ignored = NOT_DECIDING | unused_in_test([attack])
        asked, made = asdict(spec), asdict(EvaluationSpec("", ())) | _options_of(found)
        asked["pixel_size"] = spec.pixel_size or self.present.pixel_size(found.dataset)
        limit = found.setting.get("limit")
        whole = limit is None and (spec.limit is None or spec.limit >= found.n)
        return (
            found.attack == attack
            and all(made[name] == value for name, value in asked.items() if name not in ignored)
            and (whole or limit == spec.limit)
            and self._is_as_now(found, run)
            and (self.home.examples / f"{found.examples}.h5").exists()
        )

    def _is_as_now(self, found: Result, run: Run) -> bool:
        """Whether a result is of the weights, the data and the masked LM that lie there now."""
        text = found.threat.get("text", {})
        made_of = (found.weights, found.setting.get("data"), text.get("mlm"))
        now = self.present.mlm(text["mlm_name"]) if text.get("mlm_name") else None
        return made_of == (self.present.weights(run), self.present.data(found.dataset), now)


def _options_of(found: Result) -> dict[str, Any]:
    """The options that a result was made with, and what else it says of itself."""
    image, text = dict(found.threat.get("image", {})), dict(found.threat.get("text", {}))
    radii = {name: canonical_or_same(image[name]) for name in ("eps", "alpha") if name in image}
    return {**found.setting, **text, **image, **radii, "mlm": text.get("mlm_name"), "seed": found.seed}


def _deciding(spec: TrainSpec) -> TrainSpec:
    """The specification with what its method does not use as it is by default."""
    if spec.method not in catalog.methods():  # of another version
        return spec
    plain, unused = TrainSpec(spec.method), unused_in_training(spec.method, tested=False)
    own = {name: value for name, value in vars(plain).items() if name in unused}
    return replace(spec, **own, options={name: v for name, v in spec.options.items() if name not in unused})
