"""Names to models: what `--model`, `--mlm` and `--checkpoint` refer to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from store.errors import UserError
from store.index import Index
from store.schema import Run

from .. import catalog
from ..settings import Home
from .clip import Clip, load_clip
from .epochs import damage, epochs_of, path_of
from .finite import require_finite_weights
from .library import ensure_clip, ensure_mlm, is_clip
from .masked_lm import MaskedLM, load_masked_lm

OTHERS = "fetch other weights: mmcoa fetch NAME --from PATH"


def now() -> str:
    """The moment, in UTC, as the index holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def origin_of(model: Clip | MaskedLM) -> str:
    """Where a model is from, as the index holds it."""
    return model.origin.kind


def load_model(name: str, home: Home) -> Clip:
    """The CLIP model `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    clip = load_clip(ensure_clip(name, home), name=name)
    require_finite_weights(clip.model, f"the model {name}", hint=OTHERS)
    return clip


def load_mlm(name: str, home: Home) -> MaskedLM:
    """The masked LM `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    mlm = load_masked_lm(ensure_mlm(name, home), name=name)
    require_finite_weights(mlm.model, f"the masked LM {name}", hint=OTHERS)
    return mlm


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
    clip = load_clip(final_weights(run, home), name=run.model)
    require_finite_weights(clip.model, f"run {run.id}", hint="train it again, with a smaller --lr")
    return clip, run


def seen_with(run: Run, clip: Clip, weights: str, index: Index) -> Run:
    """The run as the index has it from now on: with the weights, and their origin, that are there under its name.

    A model may be replaced under its name. Results carry their own weights, so that those of others are known as such.
    """
    run_now = replace(run, weights=weights)
    if run.kind == "zero-shot":
        spec = json.dumps({**json.loads(run.spec), "model_sha256": clip.origin.sha256})
        run_now = replace(run_now, model_origin=origin_of(clip), spec=spec)
    if run_now != run:
        index.save_run(run_now)
    return run_now


def final_weights(run: Run, home: Home) -> Path:
    """The folder of a trained run's last epoch. Raises UserError unless it is there, and whole."""
    folder = home.checkpoints / run.id
    last = path_of(folder, epochs_of(run))
    reason = damage(last) if last.exists() else ""
    if run.status != "complete" or reason is not None:
        told = f"run {run.id} is not finished" if not reason else f"run {run.id} is damaged: {reason}"
        raise UserError(told, hint=f"mmcoa train --resume {run.id}")
    return last


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
        spec=json.dumps({"method": "clip", "model": model, "model_sha256": clip.origin.sha256}),
        created_at=now(),
        finished_at=now(),
    )
    index.save_run(run)
    return run
