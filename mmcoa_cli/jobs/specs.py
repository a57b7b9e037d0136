"""What attacks, training runs and evaluations are made of: the options of the command line, checked and frozen."""

from __future__ import annotations

import json
from dataclasses import fields
from enum import StrEnum
from typing import Any

from .. import catalog
from ..attacks.radii import canonical_or_same
from .evaluation_spec import AFTER_TRAINING
from .evaluation_spec import EvaluationSpec as EvaluationSpec
from .evaluation_spec import evaluation_after as evaluation_after
from .evaluation_spec import evaluation_spec as evaluation_spec
from .training_spec import DEFAULT_DATASET as DEFAULT_DATASET
from .training_spec import DEFAULT_MLM as DEFAULT_MLM
from .training_spec import DEFAULT_MODEL as DEFAULT_MODEL
from .training_spec import PRECISIONS as PRECISIONS
from .training_spec import TrainSpec as TrainSpec
from .training_spec import kinds_of as kinds_of
from .training_spec import options_of
from .training_spec import train_spec as train_spec

OF_TRAINING = ("shots", "epochs", "lr", "tune", "batch_size", "optimizer")  # options of every method that trains


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


def unused_in_training(method: str, *, tested: bool) -> set[str]:
    """The options of training that a method does not have, and that its test afterwards, if any, does not either.

    (`mlm` names a model as `model` does, and may stand where none is used: no result depends on it there.)
    """
    row = catalog.lookup(catalog.methods(), method, "method")
    used = {*options_of(row), *(OF_TRAINING if row.loss else ()), *(AFTER_TRAINING if tested else ())}
    return {*OF_TRAINING, *(name for other in catalog.methods().values() for name in options_of(other))} - used
