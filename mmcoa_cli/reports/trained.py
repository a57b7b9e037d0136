"""How a run was trained, as far as that is not the paper's way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from store.errors import UserError

from ..jobs.training_spec import stored_spec

USUAL = (  # what a run says of itself that is never unusual
    "seed", "shots", "model", "mlm", "part", "model_sha256", "base", "recipe", "data_key", "mlm_weights",
)  # fmt: skip


def in_words(method: str, spec: Mapping[str, Any]) -> str:
    """The training settings that are not the paper's, as "epochs 3, lr 0.0005"; of those that the method uses."""
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in unusual(method, spec).items())
    warmup = spec.get("shortened_warmup")  # of a run that is too short for the method's own
    return told if warmup is None else ", ".join(filter(None, [told, f"warm-up of {warmup} steps"]))


def unusual(method: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training settings that are not the paper's, by what the index says of a run; none of one from elsewhere."""
    return _unusual_in(method, json.dumps({name: value for name, value in spec.items() if name not in USUAL}))


@lru_cache(maxsize=1024)  # of many runs, which differ in their seeds or images, few are trained otherwise
def _unusual_in(method: str, spec: str) -> dict[str, Any]:
    try:
        return stored_spec(method, spec).unusual()
    except (UserError, TypeError):
        return {}
