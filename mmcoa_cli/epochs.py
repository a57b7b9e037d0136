"""A training run's epochs on disk: weights as an open_clip local folder, and the optimizer's state to go on from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.checkpoints import drop_state, load_state, load_tensors, save_checkpoint

from .origins import RECORD, Record

if TYPE_CHECKING:  # whether a run has weights is asked where torch is not needed
    import torch
    from torch import Tensor

    from .models import Clip


def epochs_in(folder: Path) -> list[Path]:
    """The folders of a run's whole epochs, the oldest first."""
    return sorted(folder.glob("epoch-[0-9]*"), key=_number)


def _number(epoch: Path) -> int:
    return int(epoch.name.removeprefix("epoch-"))


def save_epoch(folder: Path, clip: Clip, optimizer: Any, *, epoch: int, spec: dict[str, Any]) -> None:
    """Write `epoch` (from 1): its weights stay for good, the optimizer's state until the next epoch is whole."""
    state = {
        f"{number}.{name}": tensor.cpu()
        for number, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }
    save_checkpoint(
        folder / f"epoch-{epoch:03d}",
        tensors=clip.tensors(),
        spec={"epoch": epoch, **spec},
        state=state,
        files=clip_files(clip, source=folder.name),
    )
    for earlier in epochs_in(folder)[:-1]:
        drop_state(earlier)


def clip_files(clip: Clip, *, source: str) -> dict[str, str]:
    """The text files that make a folder of weights a model: open_clip's configuration, the tokenizer where it is not
    open_clip's own, and where the model comes from."""
    record = Record(clip.name, replace(clip.origin, source=source))
    config = json.dumps(clip.config, indent=2)
    return {"open_clip_config.json": config, **clip.tokenizer_files, RECORD: record.text()}


def resume(folder: Path, clip: Clip, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest whole epoch into both; returns its number, 0 when there is none."""
    epochs = epochs_in(folder)
    if not epochs:
        return 0
    clip.model.load_state_dict(load_tensors(epochs[-1]))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in (load_state(epochs[-1]) or {}).items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return _number(epochs[-1])
