"""Runs and names to models, with their weights: what `--model`, `--mlm` and `--checkpoint` refer to.

Loading a checkpoint of a wrapper is a fold: its base is loaded first, which may be such a checkpoint itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index
from store.schema import Run

from ..settings import Home
from .clip import Clip, load_clip
from .finite import require_finite_weights
from .library import ensure_clip, ensure_mlm, is_clip
from .runs import ZERO_SHOT, folder_of, require_whole, wrapped_in
from .victim import Victim, Wrapper, wrap
from .wrapper_record import WrapperRecord, has_record, read_wrapper_record
from .wrappers import wrapper_row

if TYPE_CHECKING:
    from .masked_lm import MaskedLM

SMALLER = "train it again, with a smaller --lr"
OTHERS = "fetch other weights: mmcoa fetch NAME --from PATH"


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
    from .masked_lm import load_masked_lm

    mlm = load_masked_lm(ensure_mlm(name, home), name=name)
    require_finite_weights(mlm.model, f"the masked LM {name}", hint=OTHERS)
    return mlm


def load_subject(run: Run, home: Home, *, epoch: int | None = None) -> Victim:
    """The victim that a finished run gave in the end, or after an `epoch`, or that is tested as it comes.

    Raises UserError for weights that are not finite, and for a base that is not there or was replaced.
    """
    return _of_run(run, home, inside=(), epoch=epoch)


def load_base(name: str, home: Home) -> Victim:
    """What a training starts from, or a wrapper stands around: a model of the store, else a finished run."""
    return _base(name, home, inside=())


def _base(name: str, home: Home, *, inside: tuple[str, ...]) -> Victim:
    run = None if is_clip(name, home) else Index(home.database_url).run(name)
    if run is None:
        return load_model(name, home)
    if run.kind != ZERO_SHOT:
        require_whole(run, home)
    return _of_run(run, home, inside=inside)


def _of_run(run: Run, home: Home, *, inside: tuple[str, ...], epoch: int | None = None) -> Victim:
    if run.id in inside:
        raise UserError(f"run {run.id} stands around itself", hint=f"remove {home.checkpoints / run.id}")
    if run.kind == ZERO_SHOT:
        return _zero_shot(run, home)
    folder = folder_of(run, home, epoch)
    if has_record(folder):
        return _trained(read_wrapper_record(folder), folder, run, home, inside=(*inside, run.id))
    clip = load_clip(folder, name=run.model)
    require_finite_weights(clip.model, f"run {run.id}", hint=SMALLER)
    return clip


def _zero_shot(run: Run, home: Home) -> Victim:
    clip, wrapped = load_model(run.model, home), wrapped_in(run, "")
    if wrapped is None:
        return clip
    wrapper = _made(wrapped.name, wrapped.version, wrapped.settings, clip, base=run.model, run=run)
    if wrapper.state():
        raise UserError(
            f"the wrapper {wrapped.name} has tensors to train", hint=f"{run.method} needs a loss in its catalog row"
        )
    return wrapper


def _trained(record: WrapperRecord, folder: Path, run: Run, home: Home, *, inside: tuple[str, ...]) -> Wrapper:
    """The wrapper that a run trained, around its base. Raises UserError where that is not there, or another one."""
    again = f"train it again: mmcoa train --method {run.method}"
    try:
        base = _base(record.base, home, inside=inside)
    except UserError as error:
        raise UserError(f"run {run.id} stands around {record.base}: {error}", hint=error.hint) from error
    if base.digest() != record.base_digest:
        raise UserError(f"run {run.id} stands around {record.base}, which was replaced since", hint=again)
    wrapper = _made(record.name, record.version, record.settings, base, base=record.base, run=run)
    try:
        wrapper.restore(load_tensors(folder))
    except RuntimeError as error:
        raise UserError(f"the tensors of run {run.id} are not those of {record.name}", hint=again) from error
    require_finite_weights(wrapper, f"run {run.id}", hint=SMALLER)
    return wrapper


def _made(name: str, version: int, settings: Mapping[str, Any], inner: Victim, *, base: str, run: Run) -> Wrapper:
    row, again = wrapper_row(name), f"train it again: mmcoa train --method {run.method}"
    if row.version != version:
        raise UserError(f"run {run.id} has version {version} of {name}, and this is version {row.version}", hint=again)
    try:
        own = row.settings(**settings) if row.settings else None
    except TypeError as error:
        raise UserError(f"{name} has other settings than run {run.id}: {error}", hint=again) from error
    return wrap(name, inner, own, base=base)
