"""What attacks, training runs and evaluations are made of: the options of the command line, checked and frozen."""

from __future__ import annotations

import json
from dataclasses import fields
from enum import StrEnum
from typing import Any

from ..attacks.radii import canonical_or_same
from .evaluation_spec import EvaluationSpec as EvaluationSpec
from .evaluation_spec import evaluation_after as evaluation_after
from .evaluation_spec import evaluation_spec as evaluation_spec
from .training_spec import DEFAULT_DATASET as DEFAULT_DATASET
from .training_spec import DEFAULT_MLM as DEFAULT_MLM
from .training_spec import DEFAULT_MODEL as DEFAULT_MODEL
from .training_spec import PRECISIONS as PRECISIONS
from .training_spec import TrainSpec as TrainSpec
from .training_spec import kinds_of as kinds_of
from .training_spec import options_of as options_of
from .training_spec import train_spec as train_spec
from .training_spec import unused as unused


class Kind(StrEnum):
    """What can be fetched: a dataset, a CLIP model, a masked LM."""

    dataset = "dataset"
    clip = "clip"
    mlm = "mlm"


def options_in(text: str, kind: type[EvaluationSpec]) -> dict[str, Any]:
    """The options among what the index says of an evaluation (JSON), with eps and alpha in their canonical form;
    what else stands there was not asked for."""
    known = {field.name for field in fields(kind)}
    found = {name: value for name, value in json.loads(text).items() if name in known}
    radii = {name: canonical_or_same(found[name]) for name in ("eps", "alpha") if name in found}
    return {**found, **radii}
