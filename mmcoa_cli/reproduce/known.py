"""What the index and the store have already, asked without loading a tensor.

A result counts as there when it was made by the very options asked for, its files are there, and what it was made with
(data, model, masked LM) has not been replaced since. Where this errs, it errs towards doing: the work itself looks at
hashes, and finds what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .. import catalog
from ..datasets.fetching import dataset_path
from ..epochs import epochs_in
from ..models_store import clip_path, mlm_path
from ..settings import Home
from ..specs import EvaluationSpec, TrainSpec, options_in

if TYPE_CHECKING:
    from store.schema import Evaluation, Run

# options that do not decide what comes out of a test; those of the image attack; and those of the text attack
OF_EVERY_TEST = {"checkpoint", "datasets", "attacks", "limit", "batch_size"}
OF_IMAGE = {"norm", "eps", "alpha", "steps", "stop_when_fooled"}
OF_TEXT = {"mlm", "no_collisions"}


@dataclass(frozen=True)
class Known:
    """The runs and evaluations of the index; `Known(home)` knows of none."""

    home: Home
    runs: tuple[Run, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()

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
        """The id of the finished run of this specification whose weights are there."""
        parts = [dataset_path(spec.dataset, self.home), clip_path(spec.model, self.home)]
        if "text" in catalog.methods()[spec.method].attacks:
            parts.append(mlm_path(spec.mlm, self.home))
        alike = [run for run in self.runs if run.kind == "train" and _deciding(_spec(run)) == _deciding(spec)]
        for run in alike:
            whole = run.status == "complete" and epochs_in(self.home.checkpoints / run.id)
            if whole and _made_after(parts, run.created_at):
                return run.id
        return None

    def zero_shot(self, model: str) -> str | None:
        """The id of the model's row among the runs."""
        return next((run.id for run in self.runs if run.kind == "zero-shot" and run.model == model), None)

    def missing(self, run: str | None, spec: EvaluationSpec, model: str) -> tuple[str, ...]:
        """The attacks of `spec` under which the run was not tested yet; `model` is the one it started from."""
        (dataset,) = spec.datasets
        found = [e for e in self.evaluations if e.run_id == run and e.dataset == dataset]
        parts = [dataset_path(dataset, self.home), clip_path(model, self.home)]
        return tuple(a for a in spec.attacks if not any(self._is(e, a, spec, parts) for e in found))

    def _is(self, found: Evaluation, attack: str, spec: EvaluationSpec, parts: list[Path]) -> bool:
        """Whether an evaluation is what `spec` asks for under `attack`."""
        text = attack in ("text", "multimodal")
        ignored = OF_EVERY_TEST | (set() if text else OF_TEXT) | (OF_IMAGE if attack in ("clean", "text") else set())
        asked, made = asdict(spec), asdict(EvaluationSpec("", ())) | options_in(found.spec, EvaluationSpec)
        whole = found.limit is None and (spec.limit is None or spec.limit >= found.n)
        return (
            found.attack == attack
            and all(made[name] == value for name, value in asked.items() if name not in ignored)
            and (whole or found.limit == spec.limit)
            and _made_after([*parts, *([mlm_path(spec.mlm, self.home)] if text else [])], found.created_at)
            and (self.home.examples / f"{found.examples}.h5").exists()
        )


def _spec(run: Run) -> TrainSpec:
    return TrainSpec(**{**options_in(run.spec, TrainSpec), "method": run.method})


def _deciding(spec: TrainSpec) -> TrainSpec:
    """The specification with what its method does not use as it is by default."""
    row = catalog.methods().get(spec.method)
    if row is None:  # of another version
        return spec
    plain = TrainSpec(spec.method)
    if "image" not in row.attacks:
        spec = replace(spec, eps=plain.eps, alpha=plain.alpha, steps=plain.steps)
    if "text" not in row.attacks:
        spec = replace(
            spec, mlm=plain.mlm, contrast=plain.contrast,
            image_weight=plain.image_weight, text_weight=plain.text_weight,
        )  # fmt: skip
    return spec


def _made_after(parts: Iterable[Path], created_at: str) -> bool:
    """Whether a result was made when all that it is made of lay there as it does now (to the second)."""
    moment = datetime.fromisoformat(created_at).timestamp()
    return all(not part.exists() or int(part.stat().st_mtime) <= moment for part in parts)
