"""What decides a result: the one identity that keys of example sets and ids of evaluations are hashes of.

It is made of a specification, digests and what a dataset says of itself, without a tensor: so whoever asks whether a
result is there already reads the very same. (Of runs: `training_identity`.)
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from store.datasets import DatasetInfo
from store.keys import key_of

from ..attacks.base import parts, section, settings_of
from ..datasets.prompts import class_prompts
from ..models.digests import SCHEME
from .specs import EvaluationSpec

EXAMPLES = 2  # part of every key: raise it when the same attack's set would hold other columns or notes
SPLIT = "test"


def of_examples(attack: str, spec: EvaluationSpec, info: DatasetInfo, *, weights: str, mlm: str) -> dict[str, Any]:
    """Everything that decides the content of an attack's example set; its hash is the set's key."""
    limited = spec.limit is not None and spec.limit < info.splits[SPLIT]
    return {
        "version": EXAMPLES,
        "attack": attack,
        "digests": SCHEME,
        "weights": weights,
        "data": {"checksum": info.checksum, "split": SPLIT, "pixel_size": info.pixel_size, "resize": info.resize},
        "subset": {"limit": spec.limit, "seed": spec.seed} if limited else None,
        "prompts": class_prompts(info.class_names, info.template),
        "precision": spec.precision,
        **{
            part.name: section(part, settings_of(part, asdict(spec)), seed=spec.seed, mlm=mlm) for part in parts(attack)
        },
    }


def evaluation_id(run: str, examples: str, spec: EvaluationSpec) -> str:
    """The id of a result: of a run, on the example set of that key."""
    return key_of([run, examples, spec.seed, spec.compat])
