"""Names to models: what `--model`, `--mlm` and `--checkpoint` refer to.

Loading a checkpoint of a wrapper is a fold: its base is loaded first, which may be such a checkpoint itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index
from store.keys import key_of
from store.schema import Run

from .. import catalog
from ..settings import Home
from .clip import Clip, load_clip
from .epochs import damage, epochs_of, path_of
from .finite import require_finite_weights
from .library import ensure_clip, ensure_mlm, is_clip
from .masked_lm import MaskedLM, load_masked_lm
from .partial import Partial, is_partial, read_partial
from .victim import Victim, wrapper_row
from .wrapping import Wrapper, wrap

SMALLER = "train it again, with a smaller --lr"
OTHERS = "fetch other weights: mmcoa fetch NAME --from PATH"


def now() -> str:
    """The moment, in UTC, as the index holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def origin_of(model: Victim | MaskedLM) -> str:
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


def load_base(name: str, home: Home) -> Victim:
    """What a training starts from, or a wrapper stands around: a model of the store, else a finished run."""
    return _base(name, home, inside=())


def load_subject(checkpoint: str, home: Home, index: Index) -> tuple[Victim, Run]:
    """What `--checkpoint` names: a finished run (or the beginning of its id), else a model, which is zero-shot.

    Raises UserError for a run without weights and for a name that is neither.
    """
    run = index.run(checkpoint)
    if run is None and (checkpoint in catalog.models() or is_clip(checkpoint, home)):
        return load_model(checkpoint, home), zero_shot_run(checkpoint, home, index)
    run = run or index.find_run(checkpoint)
    return _of_run(run, home, inside=()), run


def is_run(name: str, home: Home) -> bool:
    """Whether a model to start from is a run, and no model of the store."""
    return not is_clip(name, home) and Index(home.database_url).run(name) is not None


def _base(name: str, home: Home, *, inside: tuple[str, ...]) -> Victim:
    run = None if is_clip(name, home) else Index(home.database_url).run(name)
    return _of_run(run, home, inside=inside) if run else load_model(name, home)


def _of_run(run: Run, home: Home, *, inside: tuple[str, ...]) -> Victim:
    if run.id in inside:
        raise UserError(f"run {run.id} stands around itself", hint=f"remove {home.checkpoints / run.id}")
    if run.kind == "zero-shot":
        return _zero_shot(run, home)
    folder = final_weights(run, home)
    if is_partial(folder):
        return _wrapped(read_partial(folder), folder, run, home, inside=(*inside, run.id))
    clip = load_clip(folder, name=run.model)
    require_finite_weights(clip.model, f"run {run.id}", hint=SMALLER)
    return clip


def _wrapped(record: Partial, folder: Path, run: Run, home: Home, *, inside: tuple[str, ...]) -> Wrapper:
    """The wrapper that a run trained, around its base. Raises UserError where that is not there, or another one."""
    again = f"train it again: mmcoa train --method {run.method}"
    try:
        base = _base(record.base, home, inside=inside)
    except UserError as error:
        raise UserError(f"run {run.id} stands around {record.base}: {error}", hint=error.hint) from error
    if base.digest() != record.base_digest:
        raise UserError(f"run {run.id} stands around {record.base}, which was replaced since", hint=again)
    wrapper = _made(record.name, record.version, record.settings, base, called=record.base, run=run)
    try:
        wrapper.restore(load_tensors(folder))
    except RuntimeError as error:
        raise UserError(f"the tensors of run {run.id} are not those of {record.name}", hint=again) from error
    require_finite_weights(wrapper, f"run {run.id}", hint=SMALLER)
    return wrapper


def _made(name: str, version: Any, settings: Mapping[str, Any], base: Victim, *, called: str, run: Run) -> Wrapper:
    row = wrapper_row(name)
    if row.version != version:
        raise UserError(
            f"run {run.id} is of version {version} of {name}, and this is {row.version}",
            hint=f"mmcoa train --method {run.method}",
        )
    try:
        own = row.settings(**settings) if row.settings else None
    except TypeError as error:
        raise UserError(f"{name} has other settings than run {run.id}: {error}", hint="train it again") from error
    return wrap(name, base, own, base=called)


def seen_with(run: Run, victim: Victim, weights: str, index: Index) -> Run:
    """The run as the index has it from now on: with the weights, and their origin, that are there under its name.

    A model may be replaced under its name. Results carry their own weights, so that those of others are known as such.
    """
    run_now = replace(run, weights=weights)
    if run.kind == "zero-shot":
        spec = json.dumps({**json.loads(run.spec), "model_sha256": victim.origin.sha256})
        run_now = replace(run_now, model_origin=origin_of(victim), spec=spec)
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


def zero_shot_run(
    model: str, home: Home, index: Index, *, method: str = "clip", wrapped: tuple[str, Any] | None = None
) -> Run:
    """The index's row for `model` as it comes, or with a wrapper and its settings: nothing trained."""
    about: dict[str, Any] = {"method": method, "model": model}
    run_id = f"{method}-{ensure_clip(model, home).name}"
    if wrapped:
        name, settings = wrapped
        row = wrapper_row(name)
        options = asdict(settings) if settings is not None else {}
        usual = row.settings_of({})
        run_id += f"-{key_of(options)[:8]}" if settings != usual else ""
        about = {**about, **options, "wrapper": [name, row.version, options]}
    found = index.run(run_id)
    if found is not None and json.loads(found.spec).get("wrapper") == about.get("wrapper"):
        return found
    victim: Victim = load_model(model, home)
    if wrapped:
        wrapper = wrap(wrapped[0], victim, wrapped[1], base=model)
        if wrapper.state():
            raise UserError(f"the wrapper of {method} has tensors to train", hint="its row of the catalog needs a loss")
        victim = wrapper
    run = Run(
        id=run_id,
        kind="zero-shot",
        method=method,
        model=model,
        model_origin=origin_of(victim),
        weights=victim.digest(),
        source="",
        shots="0",
        seed=0,
        compat="none",
        status="complete",
        spec=json.dumps({**about, "model_sha256": victim.origin.sha256}),
        created_at=now(),
        finished_at=now(),
    )
    index.save_run(run)
    return run


def _zero_shot(run: Run, home: Home) -> Victim:
    clip, wrapped = load_model(run.model, home), json.loads(run.spec).get("wrapper")
    if not wrapped:
        return clip
    name, version, settings = wrapped
    return _made(name, version, settings, clip, called=run.model, run=run)
