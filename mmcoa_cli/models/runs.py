"""What `--checkpoint` names: a run of the index, or a model, whose zero-shot run is made. Nothing heavy is imported."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.index import Index
from store.keys import key_of
from store.schema import Run

from .. import catalog
from ..names import store_name
from ..other_kinds import MODEL, RUN, of_another_kind
from ..settings import Home
from .digests import model_digest, verify
from .epochs import epochs_in, epochs_of, number_of, path_of, require_own
from .library import clip_path, ensure_clip, is_clip, registered
from .origins import read_record
from .wrapper_record import WrapperRecord, checkpoint_digest, has_record, read_wrapper_record
from .wrappers import wrapper_row

ZERO_SHOT, INTERPOLATED = "zero-shot", "interpolated"  # kinds of runs beside those that were trained
NO_RUN = "mmcoa train makes a run, mmcoa fetch --list shows the models"


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
    if run is None and (through := through_wrapper(checkpoint, home)):
        method, model = through
        wrapper = catalog.methods()[method].wrapper
        settings = wrapper_row(wrapper).settings_of({})
        return zero_shot_run(model, home, index, method=method, wrapper=wrapper, settings=settings)
    run = run or find_run(checkpoint, home)
    if run.kind != ZERO_SHOT:
        require_whole(run, home)
    return run


def require_known(name: str, home: Home) -> None:
    """Raises UserError for what is neither a model nor a run; fetches nothing."""
    if not (is_clip(name, home) or through_wrapper(name, home)):
        find_run(name, home)


def find_run(beginning: str, home: Home) -> Run:
    """The run whose id is or begins with that. Raises UserError that names the runs and models that may be meant."""
    own = [read_record(home.clips / name).name or name for name in registered(home.clips)]
    known = (*catalog.models(), *own)
    other = of_another_kind(beginning, home, asked=(RUN, MODEL))
    return Index(home.database_url).find_run(beginning, otherwise=NO_RUN, others=known, instead=other)


def zero_shot_id(method: str, model: str) -> str:
    """The id of the run of a model as it comes, or through the wrapper of a method that trains nothing. The name of the
    method stands in it once: "clip-ViT-B-32", "clip-vit-cifar10"."""
    return f"{method}-{store_name(model).removeprefix(f'{method}-')}"


def through_wrapper(checkpoint: str, home: Home) -> tuple[str, str] | None:
    """The method and the model of the store that such an id names, whether there is the run already or not."""
    for name, row in catalog.methods().items():
        if row.wrapper and not row.loss and checkpoint.startswith(f"{name}-"):
            folder = home.clips / store_name(checkpoint.removeprefix(f"{name}-"))
            if folder.is_dir():
                return name, read_record(folder).name or folder.name
    return None


def epoch_before_the_last(run: Run, epoch: int | None) -> int | None:
    """The epoch of a run that is asked for; None for its last, and where none is named.

    Raises UserError for an epoch that it does not have.
    """
    if epoch is None:
        return None
    if run.kind != "train":
        raise UserError(f"{run.model} was not trained here: it has no epoch {epoch}", hint="leave out --epochs")
    if epoch > epochs_of(run):
        raise UserError(f"run {run.id} has no epoch {epoch}", hint=f"it has {epochs_of(run)}")
    return None if epoch == epochs_of(run) else epoch


def folder_of(run: Run, home: Home, epoch: int | None = None) -> Path:
    """Where the weights of a trained run lie after an epoch, the last where none is named."""
    return path_of(home.checkpoints / run.id, epoch or epochs_of(run))


def require_whole(run: Run, home: Home, epoch: int | None = None) -> None:
    """Raises UserError unless a trained run's last epoch, or another one, is there and as it was saved."""
    folder, again = folder_of(run, home, epoch), made_again(run)
    if run.status != "complete" or not (epoch or folder.exists()):
        raise UserError(f"run {run.id} is not finished", hint=again)
    if not folder.exists():
        kept = ",".join(str(number_of(there)) for there in epochs_in(folder.parent))
        hint = f"--epochs {kept}, or train all of them again: {again} --keep all"
        raise UserError(f"epoch {epoch} of run {run.id} was not kept", hint=hint)
    try:
        verify(folder, name=folder.name)
        require_own(folder)
    except UserError as error:
        raise UserError(f"run {run.id} is damaged: {error}", hint=again) from error


def made_again(run: Run) -> str:
    """What to type for the weights of a run that are not there."""
    ends = json.loads(run.spec).get("interpolated") if run.kind == INTERPOLATED else None
    return f"mmcoa interpolate {ends['a']['run']} {ends['b']['run']}" if ends else f"mmcoa train --resume {run.id}"


def weights_of(run: Run, home: Home, epoch: int | None = None) -> str:
    """The digest of what is tested: of a run's last epoch or another one, or of a model as it comes."""
    if run.kind != ZERO_SHOT:
        return checkpoint_digest(folder_of(run, home, epoch), name=run.model)
    return through_its_wrapper(run, model_digest(clip_path(run.model, home), name=run.model))


def template_of(run: Run, home: Home) -> str:
    """The template of class prompts that a wrapper of the run has of its own; empty where the dataset's is used."""
    folder = folder_of(run, home)
    if run.kind != ZERO_SHOT and has_record(folder):
        record = read_wrapper_record(folder)
        own = wrapper_row(record.name).template
        return own or (template_of_base(record.base, home) if record.base != run.id else "")
    wrapped = wrapped_in(run, "")
    return wrapper_row(wrapped.name).template if wrapped else ""


def template_of_base(name: str, home: Home) -> str:
    """The same of what a training starts from: a model of the store, or a run."""
    run = None if is_clip(name, home) else Index(home.database_url).run(name)
    return template_of(run, home) if run else ""


def wrapped_in(run: Run, weights: str) -> WrapperRecord | None:
    """What a zero-shot run tests its model, of this digest, through; None where it is the model itself."""
    found = json.loads(run.spec).get("wrapper")
    return WrapperRecord(**found, base=run.model, base_digest=weights) if found else None


def through_its_wrapper(run: Run, weights: str) -> str:
    """The digest of what a zero-shot run tests, by that of its model."""
    wrapped = wrapped_in(run, weights)
    return wrapped.digest() if wrapped else weights


def zero_shot_run(
    model: str, home: Home, index: Index, *, method: str = "clip", wrapper: str = "", settings: Any = None
) -> Run:
    """The index's row for `model` as it comes, or through a wrapper with its settings: nothing is trained."""
    folder = ensure_clip(model, home)
    weights, run_id = model_digest(folder, name=model), zero_shot_id(method, model)
    about: dict[str, Any] = {"method": method, "model": model}
    if wrapper:
        row = wrapper_row(wrapper)
        options = asdict(settings) if settings is not None else {}
        weights = WrapperRecord(wrapper, row.version, model, weights, options).digest()
        run_id += f"-{key_of(options)[:8]}" if settings != row.settings_of({}) else ""
        about |= {**options, "wrapper": {"name": wrapper, "version": row.version, "settings": options}}
    found = index.run(run_id)
    if found is not None and json.loads(found.spec).get("wrapper") == about.get("wrapper"):
        return found
    origin = read_record(folder, name=model).origin
    run = Run(
        id=run_id,
        kind=ZERO_SHOT,
        method=method,
        model=model,
        model_origin=origin.kind,
        weights=weights,
        source="",
        shots="0",
        seed=0,
        compat="none",
        status="complete",
        spec=json.dumps({**about, "model_sha256": origin.sha256}),
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
    if run.kind == ZERO_SHOT:
        origin = read_record(clip_path(run.model, home), name=run.model).origin
        spec = json.dumps({**json.loads(run.spec), "model_sha256": origin.sha256})
        run_now = replace(run_now, model_origin=origin.kind, spec=spec)
    if run_now != run:
        index.save_run(run_now)
    return run_now
