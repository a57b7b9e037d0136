"""Names to models: what `--model`, `--mlm` and `--checkpoint` refer to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from store.errors import UserError
from store.index import Index
from store.schema import Run

from . import catalog
from .attacks.masked_lm import MaskedLM, load_masked_lm
from .epochs import epochs_in
from .models import Clip, load_clip
from .models_store import ensure_clip, ensure_mlm, is_clip
from .settings import Home


def now() -> str:
    """The moment, in UTC, as the index holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def origin_of(model: Clip | MaskedLM) -> str:
    """Where a model is from, as the index holds it."""
    return model.origin.kind


def load_model(name: str, home: Home) -> Clip:
    """The CLIP model `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    return load_clip(ensure_clip(name, home), name=name)


def load_mlm(name: str, home: Home) -> MaskedLM:
    """The masked LM `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    return load_masked_lm(ensure_mlm(name, home), name=name)


def load_subject(checkpoint: str, home: Home, index: Index) -> tuple[Clip, Run]:
    """What `--checkpoint` names: a finished run (or the beginning of its id), else a model, which is zero-shot.

    Raises UserError for a run without weights and for a name that is neither.
    """
    run = index.run(checkpoint)
    if run is None and (checkpoint in catalog.models() or is_clip(checkpoint, home)):
        return load_model(checkpoint, home), zero_shot_run(checkpoint, home, index)
    run = run or index.find_run(checkpoint)
    if run.kind == "zero-shot":
        return load_model(run.model, home), run
    folder = last_checkpoint(home, run.id)
    if run.status != "complete" or folder is None:
        raise UserError(f"run {run.id} is not finished", hint=f"mmcoa train --resume {run.id}")
    return load_clip(folder, name=run.model), run


def last_checkpoint(home: Home, run: str) -> Path | None:
    """The folder of the last whole epoch, None before the first."""
    epochs = epochs_in(home.checkpoints / run)
    return epochs[-1] if epochs else None


def zero_shot_run(model: str, home: Home, index: Index) -> Run:
    """The index's row for `model` as it comes: nothing trained, method `clip`."""
    run_id = f"clip-{ensure_clip(model, home).name}"
    found = index.run(run_id)
    if found is not None:
        return found
    clip = load_model(model, home)
    run = Run(
        id=run_id,
        kind="zero-shot",
        method="clip",
        model=model,
        model_origin=origin_of(clip),
        weights=clip.digest(),
        source="",
        shots="0",
        seed=0,
        compat="none",
        status="complete",
        spec=json.dumps({"method": "clip", "model": model}),
        created_at=now(),
        finished_at=now(),
    )
    index.save_run(run)
    return run
