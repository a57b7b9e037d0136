"""A training run's epochs on disk: weights, and the optimizer's state to go on from.

The weights are an open_clip local folder, or, of a wrapper, its own tensors with the record of what they stand around.

The optimizer's moments are part of what the next step depends on. So an epoch without them, or a damaged one, is never
gone on from: that would give other weights under the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.checkpoints import copy_checkpoint, drop_state, load_spec, load_state, load_tensors, save_checkpoint
from store.errors import UserError
from store.files import discard

from .digests import CLIP_CONFIG
from .origins import RECORD, Record
from .wrapper_record import WRAPPER

if TYPE_CHECKING:  # whether a run has weights is asked where torch is not needed
    import torch
    from torch import Tensor

    from store.schema import Run

    from .clip import Clip
    from .victim import Victim

FIRST = 1  # the number of the first epoch, and of the only one of a run that was not trained
INTERRUPTED = "midway"  # the folder, beside the epochs, of the state that the next one was interrupted in
FILES = "files"  # where an epoch's specification records the hash of each of its text files


def epochs_in(folder: Path) -> list[Path]:
    """The folders of a run's epochs, the oldest first."""
    return sorted((path for path in folder.glob("epoch-*") if re.fullmatch(r"epoch-\d+", path.name)), key=number_of)


def number_of(epoch: Path) -> int:
    """Which epoch (from 1) a folder is."""
    return int(epoch.name.removeprefix("epoch-"))


def path_of(folder: Path, epoch: int) -> Path:
    """The folder of an epoch (from 1) of the run whose checkpoints lie in `folder`."""
    return folder / f"epoch-{epoch:03d}"


def last_epoch(folder: Path, epochs: int) -> Path | None:
    """The folder of the last of a run's `epochs`; None where it is not there whole, and the run not complete."""
    epoch = path_of(folder, epochs)
    return epoch if damage(epoch) is None else None


def has_kept(folder: Path, epochs: int, *, keep: int | None) -> bool:
    """Whether the last `keep` of a run's `epochs` are there, all where that is None."""
    first = max(FIRST, epochs - keep + 1) if keep else FIRST
    return all(path_of(folder, number).is_dir() for number in range(first, epochs + 1))


def damage(epoch: Path) -> str | None:
    """What keeps an epoch from being a model, in words; None where nothing does."""
    try:
        require_own(epoch)
        load_tensors(epoch)
    except UserError as error:
        return str(error)
    return None


def save_epoch(
    folder: Path, victim: Victim, optimizer: Any, *, epoch: int, spec: dict[str, Any], writes: bool = True
) -> None:
    """Write `epoch` (from 1): its weights stay for good, the optimizer's state until the next epoch is whole. Where
    weights are divided among processes, all of them call this, and one `writes`."""
    state, tensors = state_of(optimizer), victim.tensors()
    if not writes:
        return
    save_weights(folder, victim, epoch=epoch, spec=spec, state=state, tensors=tensors)
    for earlier in epochs_in(folder):
        if number_of(earlier) < epoch:  # a later one is damaged, and replaced when its turn comes
            drop_state(earlier)


def state_of(optimizer: Any) -> dict[str, Tensor]:
    """The optimizer's moments, by the number of the weight and their name."""
    from .dtensors import full_tensor

    return {
        f"{number}.{name}": full_tensor(tensor)
        for number, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
        if tensor is not None  # SGD without momentum has none
    }


def drop_earlier(folder: Path, *, epoch: int, keep: int) -> None:
    """Remove all epochs of a run but the last `keep` up to this one; a later one is damaged, and waits for its turn."""
    for earlier in epochs_in(folder):
        if number_of(earlier) <= epoch - keep:
            discard(earlier)


def save_weights(
    folder: Path,
    victim: Victim,
    *,
    epoch: int,
    spec: dict[str, Any],
    state: dict[str, Tensor] | None = None,
    tensors: dict[str, Tensor] | None = None,
) -> None:
    """Write the weights (the victim's `tensors`, where they are at hand) as this epoch of the run, with what makes them
    a model."""
    files = _files(victim, source=folder.name)
    save_checkpoint(
        path_of(folder, epoch),
        tensors=victim.tensors() if tensors is None else tensors,
        spec={"epoch": epoch, FILES: {name: _hash(text) for name, text in files.items()}, **spec},
        state=state,
        files=files,
    )


def _files(victim: Victim, *, source: str) -> dict[str, str]:
    from .victim import Wrapper

    if isinstance(victim, Wrapper):
        return {WRAPPER: victim.record.text()}
    return clip_files(victim.clip, source=source)


def clip_files(clip: Clip, *, source: str) -> dict[str, str]:
    """The text files that make a folder of weights a model: open_clip's configuration, the tokenizer where it is not
    open_clip's own, and where the model comes from."""
    files = {CLIP_CONFIG: json.dumps(clip.config, indent=2), **clip.tokenizer_files}
    record = Record(clip.name, replace(clip.origin, source=source), {name: _hash(text) for name, text in files.items()})
    return {**files, RECORD: record.text()}


def resume(folder: Path, victim: Victim, optimizer: torch.optim.Optimizer, *, epochs: int) -> int:
    """Load the newest epoch to go on from into both; returns its number, 0 where there is none.

    It is one whose weights and optimizer's state are whole. The last of all `epochs` needs no state: nothing follows.
    """
    for epoch in reversed(epochs_in(folder)):
        last = number_of(epoch) == epochs
        with suppress(UserError):
            require_own(epoch)
            if _restored(victim, optimizer, load_tensors(epoch), {} if last else load_state(epoch)):
                return number_of(epoch)
    return 0


def save_interrupted(folder: Path, victim: Victim, optimizer: Any, *, epoch: int, spec: dict[str, Any]) -> None:
    """Write the state that `epoch` (from 1) is interrupted in, in place of an earlier one."""
    document = {"epoch": epoch, **spec}
    save_checkpoint(folder / INTERRUPTED, tensors=victim.tensors(), spec=document, state=state_of(optimizer))


def resume_interrupted(
    folder: Path, victim: Victim, optimizer: torch.optim.Optimizer, *, epoch: int
) -> dict[str, Any] | None:
    """Load the state that `epoch` (from 1) was interrupted in into both; its specification, None where there is no such
    state, or it is damaged."""
    place = folder / INTERRUPTED
    with suppress(UserError):
        spec = load_spec(place) if place.is_dir() else {}
        is_it = spec.get("run") == folder.name and spec.get("epoch") == epoch
        if is_it and _restored(victim, optimizer, load_tensors(place), load_state(place)):
            return spec
    return None


def drop_interrupted(folder: Path) -> None:
    """Remove it: its epoch is whole."""
    shutil.rmtree(folder / INTERRUPTED, ignore_errors=True)


def _restored(
    victim: Victim, optimizer: torch.optim.Optimizer, weights: dict[str, Tensor], state: dict[str, Tensor] | None
) -> bool:
    """Take over weights and the optimizer's moments, unless they are not this model's, or there is no state."""
    own = {name: tensor.shape for name, tensor in victim.tensors().items()}
    if state is None or own != {name: tensor.shape for name, tensor in weights.items()}:
        return False
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = tensor
    victim.restore(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return True


def to_go_on_from(folder: Path) -> int:
    """The number of the newest epoch whose weights and optimizer's state are whole; 0 where there is none."""
    for epoch in reversed(epochs_in(folder)):
        with suppress(UserError):
            if damage(epoch) is None and load_state(epoch) is not None:
                return number_of(epoch)
    return 0


def take_over(source: Path, target: Path, *, last: int, spec: dict[str, Any]) -> None:
    """Give the run at `target` the epochs up to the `last` of the one at `source`, which is the same but for its number
    of epochs. Files are linked where the disk can, since no epoch is ever written into."""
    for epoch in epochs_in(source):
        if number_of(epoch) <= last and damage(epoch) is None:
            copy_checkpoint(epoch, path_of(target, number_of(epoch)), spec=spec)


def require_own(epoch: Path) -> None:
    """Raises UserError for a folder that is another epoch's or another run's, or that lacks what makes it a model."""
    spec = load_spec(epoch)
    if spec.get("epoch") != number_of(epoch) or spec.get("run", epoch.parent.name) != epoch.parent.name:
        raise UserError(f"{epoch} holds the weights of another epoch or run", hint="remove the folder")
    recorded = spec.get(FILES, {})  # nothing in runs of version 0.1
    for name in recorded or (CLIP_CONFIG, RECORD):
        try:
            text = (epoch / name).read_text(encoding="utf8")
        except (OSError, ValueError) as error:
            raise UserError(f"{epoch / name} cannot be read: {error}", hint="remove the folder") from error
        if recorded.get(name, _hash(text)) != _hash(text):
            raise UserError(f"{epoch / name} is not what was saved", hint="remove the folder")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def epochs_of(run: Run) -> int:
    """How many epochs a trained run is to have."""
    return int(json.loads(run.spec).get("epochs", 0))
