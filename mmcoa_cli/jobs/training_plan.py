"""A training run before its first step: what its specification names is loaded, its images drawn, its id known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from store.datasets import Dataset
from store.errors import UserError
from store.schema import Run

from .. import attacks, catalog
from ..attacks.bert_attack import TextTarget, prepare
from ..attacks.image import IMAGE
from ..datasets.library import open_classes
from ..datasets.prompts import class_prompts
from ..datasets.sampling import few_shot
from ..defences.step import Attacks
from ..models.clip import Clip
from ..models.current_digests import data_key
from ..models.load import load_base, origin_of
from ..models.runs import now, template_of_base
from ..models.stored_lm import stored_mlm
from ..models.token_rows import cut_by, require_distinct_prompts
from ..models.victim import Victim, wrap
from ..settings import Home
from .training_identity import of_training, recipe_of, run_id, shortened_warmup
from .training_spec import TrainSpec

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """All that the steps of a run need. `victim` is what is trained; `load_original` loads the model it starts from."""

    run: str
    spec: TrainSpec
    victim: Victim
    load_original: Callable[[], Victim]
    dataset: Dataset
    prompts: list[str]
    indices: Ints
    text_target: TextTarget | None
    mlm_digest: str  # empty where no masked LM is used
    identity: dict[str, Any]

    @property
    def row(self) -> catalog.MethodRow:
        return self.spec.row

    @property
    def attacks(self) -> Attacks:
        return Attacks(self.spec.image_attack if IMAGE.name in self.row.attacks else None, self.text_target)

    @property
    def record(self) -> dict[str, Any]:
        """What the index says of the run: its options, the part of the data, what it was made of, and the `recipe`,
        which runs have in common that differ in nothing but their seed."""
        info = self.dataset.info
        return {
            **self.spec.document(),
            "part": info.part("train"),
            "base": self.identity["weights"],
            "model_sha256": self.victim.origin.sha256,
            "data_key": data_key(info.checksum, class_prompts(info.class_names, info.template)),
            "mlm_weights": self.mlm_digest,
            "recipe": recipe_of(self.identity),
            **shortened_warmup(self.spec, len(self.indices)),
        }


def make_plan(spec: TrainSpec, home: Home, device: torch.device | None = None) -> Plan:
    """Load what `spec` names, draw its images, and give the run its id; a masked LM is asked on `device`. Raises
    UserError for what is not there."""
    row = catalog.lookup(catalog.methods(), spec.method, "method")
    dataset = open_classes(spec.dataset, home)
    template = spec.template or template_of_base(spec.model, home)
    info, base = replace(dataset.info, template=template or dataset.info.template), load_base(spec.model, home)
    indices = few_shot(dataset.labels("train"), spec.shots, seed=spec.seed, names=dataset.info.class_names)
    prompts = class_prompts(info.class_names, info.template)
    weights, victim = base.digest(), _trained(spec, base, prompts)
    require_distinct_prompts(victim, prompts, info.class_names)
    words = any(attacks.lookup(name).masked_lm for name in row.attacks)
    mlm = stored_mlm(spec.mlm, home, device) if words else None
    digest = mlm.digest() if mlm else ""
    document = of_training(spec, info, indices=indices.tolist(), weights=weights, mlm=digest)
    target = None
    if mlm:
        names, is_cut = info.class_names, cut_by(victim)
        target = prepare(prompts, names, mlm=mlm, settings=spec.text_attack, is_cut=is_cut)
    load = partial(load_base, spec.model, home)
    return Plan(run_id(spec, document), spec, victim, load, dataset, prompts, indices, target, digest, document)


def run_row(plan: Plan) -> Run:
    """The row of the index for the run as it begins."""
    return Run(
        id=plan.run,
        kind="train",
        method=plan.row.name,
        model=plan.spec.model,
        model_origin=origin_of(plan.victim),
        weights=None,
        source=plan.spec.dataset,
        shots=plan.spec.shots,
        seed=plan.spec.seed,
        compat=plan.spec.compat,
        status="running",
        spec=json.dumps(plan.record),
        created_at=now(),
        finished_at=None,
    )


def _trained(spec: TrainSpec, base: Victim, prompts: list[str]) -> Victim:
    """What is trained: the model itself, or the method's wrapper around it."""
    if spec.row.wrapper:
        wrapper = wrap(spec.row.wrapper, base, spec.wrapper_settings, base=spec.model)
        wrapper.require(prompts)
        wrapper.draw(spec.seed)
        return wrapper
    if not isinstance(base, Clip):
        raise UserError(
            f"{spec.model} is a wrapper around a model, and {spec.method} trains a model's own weights",
            hint=f"--model {base.name}, or a method that has a wrapper",
        )
    return base
