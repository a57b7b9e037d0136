"""What decides the weights of a run, as one document: its hash gives the run's id, and names what runs have in common.

It is made of the specification, digests and the dataset's own words about itself, without a tensor: so whoever asks
whether a run is there already, or what differs, reads the very same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from store.dataset_info import DatasetInfo
from store.keys import key_of

from .. import catalog
from ..attacks import lookup
from ..catalog.recipes import recipes
from ..datasets.prompts import class_prompts
from ..models.wrappers import wrapper_row
from .training_spec import TrainSpec

TRAINING = 2  # part of a run's id: raise it when the same specification would give other weights


def of_training(
    spec: TrainSpec, info: DatasetInfo, *, indices: Sequence[int], weights: str, mlm: str
) -> dict[str, Any]:
    """All that decides a run's weights: `weights` is the digest of those it starts from, `mlm` that of the masked LM
    where the method uses one, `indices` are the training images.

    What is as in the paper stands in it only where it did in version 0.1.
    """
    return {
        "version": TRAINING,
        "method": spec.method,
        "pairs": None,
        "tune": spec.tune,
        "optimizer": {
            **{"lr": spec.lr, "epochs": spec.epochs, "batch_size": spec.batch_size},
            **spec.optimization.identity(),
            **shortened_warmup(spec, len(indices)),
        },
        **{f"{name}_attack": None for name in catalog.attacks_in_every_identity()},
        **{f"{name}_attack": _attack_of(spec, name, mlm) for name in spec.row.attacks},
        "compat": spec.compat,
        "weights": weights,
        "data": [info.checksum, info.pixel_size, info.resize],
        "prompts": class_prompts(info.class_names, spec.template or info.template),
        "indices": list(indices),
        "seed": spec.seed,
        "precision": spec.precision,
        **({"fast": True} if spec.fast else {}),
        **({"stages": [*recipes()[spec.recipe].stages]} if spec.recipe else {}),
        **_of_loss(spec),
        **({"offline": lookup(spec.row.offline).version} if spec.row.offline else {}),
        **_of_wrapper(spec),
    }


def shortened_warmup(spec: TrainSpec, images: int) -> dict[str, int]:
    """The steps of the warm-up where the run is too short for the whole of it; nothing where it is not."""
    warmup = spec.optimization.warmup_in(spec.epochs * math.ceil(images / spec.batch_size))
    return {} if warmup == spec.optimization.warmup_steps else {"shortened_warmup": warmup}


def run_id(spec: TrainSpec, identity: dict[str, Any]) -> str:
    return f"{spec.run_name}-{key_of(identity)[:8]}"


def recipe_of(identity: dict[str, Any]) -> str:
    """What runs have in common that differ in nothing but their seed, and so in the images it draws."""
    return key_of({name: part for name, part in identity.items() if name not in ("seed", "indices")})


def _attack_of(spec: TrainSpec, name: str, mlm: str) -> list[Any]:
    attack = lookup(name)
    return [attack.version, asdict(spec.attack(name)), *([mlm] if attack.masked_lm else [])]


def _of_loss(spec: TrainSpec) -> dict[str, Any]:
    version = {"loss": spec.row.version} if spec.row.version != 1 else {}
    if spec.settings is None:
        return version
    own = getattr(spec.settings, "identity", None)
    return {**(own() if own else {"settings": asdict(spec.settings)}), **version}


def _of_wrapper(spec: TrainSpec) -> dict[str, Any]:
    if not spec.row.wrapper:
        return {}
    settings = asdict(spec.wrapper_settings) if spec.wrapper_settings is not None else {}
    return {"wrapper": [spec.row.wrapper, wrapper_row(spec.row.wrapper).version, settings]}
