"""A training followed by a tracker of one's own (TensorBoard, Weights & Biases, Trackio), through Accelerate.

Importing this module imports neither torch nor a tracker.
Nothing is sent anywhere: what is logged lies in the run's folder, and the last line says how to look at it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from ..settings import Home
from ..terminal.console import say

if TYPE_CHECKING:
    from .clock import Taken
    from .training_plan import Plan

PROJECT = "mmcoa"
LOOK = {
    "tensorboard": "tensorboard --logdir {folder}",
    "wandb": "wandb sync {folder}/offline-run-*",
    "trackio": "TRACKIO_DIR={folder} trackio show --project mmcoa",
}


def require_tracker(name: str) -> None:
    """Raises UserError where it is not installed; nothing of it is imported."""
    if name and find_spec(name) is None:
        raise UserError(f"{name} is not installed", hint=f"pip install {name}")


class Log:
    """Where a training's numbers go. Without a tracker they go nowhere."""

    def __init__(self, tracker: Any = None, *, first: int = 0) -> None:
        self._tracker, self._number = tracker, first

    def step(self, taken: Taken) -> None:
        """One step of the optimizer."""
        self._number += 1
        speed = taken.images / taken.seconds if taken.seconds else 0.0
        numbers = {"loss": taken.loss, "images_per_second": speed}
        self._write({**numbers, "seconds_waiting": taken.waited, "learning_rate": taken.lr})

    def epoch(self, number: int, *, loss: float, seconds: float, tested: Mapping[str, float]) -> None:
        """An epoch, and how the model was tested after it."""
        found = {f"test/{name}": value for name, value in tested.items()}
        self._write({"epoch": number, "epoch_loss": loss, "epoch_seconds": seconds, **found})

    def _write(self, values: Mapping[str, float]) -> None:
        if self._tracker:
            self._tracker.log(dict(values), step=self._number)


@contextmanager
def tracker(plan: Plan, home: Home, name: str, *, first: int) -> Iterator[Log]:
    """The log of a run that has taken `first` steps before; one that keeps nothing where no tracker has this name."""
    if not name:
        yield Log()
        return
    folder = home.runs / plan.run / name
    folder.mkdir(parents=True, exist_ok=True)
    found = _started(name, folder, plan)
    try:
        yield Log(found, first=first)
    finally:
        _finish(name, found)
        say(f"logged to {folder}; look at it with: {LOOK[name].format(folder=folder)}")


def _started(name: str, folder: Path, plan: Plan) -> Any:
    """The tracker of Accelerate, which writes below `folder`."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if kind.requires_logging_directory:
        found = kind(folder.name, folder.parent)
    else:
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ["TRACKIO_DIR"] = str(folder)  # read when it is imported
        own = {"dir": str(folder.parent), "mode": "offline"} if name == "wandb" else {"embed": False}
        found = kind(PROJECT, name=plan.run, **own)
    with redirect_stdout(io.StringIO()):  # which is for results alone
        found.start()
    found.store_init_configuration({k: v for k, v in plan.spec.document().items() if isinstance(v, str | int | float)})
    return found


def _finish(name: str, tracker: Any) -> None:
    with redirect_stdout(io.StringIO()):
        if name == "trackio":
            import_module(name).finish()  # else it finishes once more when the program ends, and says so
        else:
            tracker.finish()
