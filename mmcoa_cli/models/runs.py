"""What `--checkpoint` names: a run of the index, or a model, whose zero-shot run is made. Nothing heavy is imported."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from store.errors import UserError
from store.index import Index
from store.schema import Run

from .. import catalog
from ..settings import Home
from .digests import model_digest, verify
from .epochs import epochs_of, path_of
from .library import clip_path, ensure_clip, is_clip
from .origins import read_record


def now() -> str:
    """The moment, in UTC, as the index holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_of(checkpoint: str, home: Home, index: Index) -> Run:
    """A finished run (or the beginning of its id), else a model, which is zero-shot.

    Raises UserError for a run without weights and for a name that is neither.
    """
    run = index.run(checkpoint)
    if run is None and (checkpoint in catalog.models() or is_clip(checkpoint, home)):
        return zero_shot_run(checkpoint, home, index)
    run = run or index.find_run(checkpoint)
    if run.kind == "train":
        require_whole(run, home)
    return run


def require_whole(run: Run, home: Home) -> None:
    """Raises UserError unless a trained run's last epoch is there, and as it was saved."""
    last, again = path_of(home.checkpoints / run.id, epochs_of(run)), f"mmcoa train --resume {run.id}"
    if run.status != "complete" or not last.exists():
        raise UserError(f"run {run.id} is not finished", hint=again)
    try:
        verify(last, name=last.name)
    except UserError as error:
        raise UserError(f"run {run.id} is damaged: {error}", hint=again) from error


def weights_of(run: Run, home: Home) -> str:
    """The digest of what is tested: of a run's last epoch, or of a model as it comes."""
    if run.kind == "train":
        return model_digest(path_of(home.checkpoints / run.id, epochs_of(run)), name=run.model)
    return model_digest(ensure_clip(run.model, home), name=run.model)


def zero_shot_run(model: str, home: Home, index: Index) -> Run:
    """The index's row for `model` as it comes: nothing trained, method `clip`."""
    folder = ensure_clip(model, home)
    run_id = f"clip-{folder.name}"
    found = index.run(run_id)
    if found is not None:
        return found
    origin = read_record(folder, name=model).origin
    run = Run(
        id=run_id,
        kind="zero-shot",
        method="clip",
        model=model,
        model_origin=origin.kind,
        weights=model_digest(folder, name=model),
        source="",
        shots="0",
        seed=0,
        compat="none",
        status="complete",
        spec=json.dumps({"method": "clip", "model": model, "model_sha256": origin.sha256}),
        created_at=now(),
        finished_at=now(),
    )
    index.save_run(run)
    return run


def seen_with(run: Run, weights: str, home: Home, index: Index) -> Run:
    """The run as the index has it from now on: with the weights, and their origin, that are there under its name.

    A model may be replaced under its name. Results carry their own weights, so that those of others are known as such.
    """
    run_now = replace(run, weights=weights)
    if run.kind == "zero-shot":
        origin = read_record(clip_path(run.model, home), name=run.model).origin
        spec = json.dumps({**json.loads(run.spec), "model_sha256": origin.sha256})
        run_now = replace(run_now, model_origin=origin.kind, spec=spec)
    if run_now != run:
        index.save_run(run_now)
    return run_now
