"""A name that was typed where another kind of thing is asked for: what it is, and which option takes it."""

from __future__ import annotations

from collections.abc import Container
from importlib.util import find_spec
from pathlib import Path

from store.errors import UserError

from . import catalog
from .names import store_name
from .settings import Home

DATASET, MODEL, MLM, RUN = "a dataset", "a model", "a masked LM", "a run"
TAKEN_BY = {DATASET: "--dataset", MODEL: "--checkpoint", MLM: "--mlm", RUN: "--checkpoint"}


def of_another_kind(name: str, home: Home, *, asked: Container[str]) -> str:
    """ "cifar10 is a dataset: --dataset cifar10", of a name that the catalog or the store has, but as none of the kinds
    that are asked for; of an architecture's name, those of its weights; else empty."""
    kind = next((kind for kind in _kinds(name, home) if kind not in asked), "")
    if kind:
        return f"{name} is {kind}: {TAKEN_BY[kind]} {name}"
    return _with_weights(name) if is_architecture(name) else ""


def is_architecture(name: str) -> bool:
    """Tell whether open_clip has a model of this name, which without a tag has no weights. It is not imported."""
    found = find_spec("open_clip")
    places = found.submodule_search_locations if found else None
    return Path(name).name == name and any(
        (Path(place) / "model_configs" / f"{name}.json").is_file() for place in places or ()
    )


def _with_weights(architecture: str) -> str:
    """ "ViT-L-14 is an architecture, ViT-L-14:openai a model of it (or ViT-L-14:laion400m_e31, ...)"."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tags:
        own = f"mmcoa fetch NAME --from FILE --arch {architecture}"
        return f"{architecture} is an architecture without published weights: {own}"
    first, *others = (f"{architecture}:{tag}" for tag in tags)
    also = f" (or {', '.join(others[:3])})" if others else ""
    return f"{architecture} is an architecture, and {first} a model of it{also}: mmcoa fetch {first}"


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
