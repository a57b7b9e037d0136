"""A name that was typed where another kind of thing is asked for: what it is, and which option takes it."""

from __future__ import annotations

from collections.abc import Container

from store.errors import UserError

from . import catalog
from .names import store_name
from .settings import Home

DATASET, MODEL, MLM, RUN = "a dataset", "a model", "a masked LM", "a run"
TAKEN_BY = {DATASET: "--dataset", MODEL: "--checkpoint", MLM: "--mlm", RUN: "--checkpoint"}


def of_another_kind(name: str, home: Home, *, asked: Container[str]) -> str:
    """ "cifar10 is a dataset: --dataset cifar10", of a name that the catalog or the store has, but as none of the kinds
    that are asked for; else empty."""
    kind = next((kind for kind in _kinds(name, home) if kind not in asked), "")
    return f"{name} is {kind}: {TAKEN_BY[kind]} {name}" if kind else ""


def _kinds(name: str, home: Home) -> list[str]:
    try:
        file = store_name(name)
    except UserError:
        return []
    there = {
        DATASET: name in catalog.datasets() or (home.datasets / f"{file}.h5").exists(),
        MODEL: name in catalog.models() or (home.clips / file).is_dir(),
        MLM: name in catalog.mlms() or (home.mlms / file).is_dir(),
        RUN: (home.checkpoints / file).is_dir(),
    }
    return [kind for kind, is_there in there.items() if is_there]
