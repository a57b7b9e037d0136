"""What lies in the store now under each name, to tell which results are still of it; found without loading a tensor."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from store.errors import UserError
from store.keys import key_of
from store.verification import remembered

from ..datasets.library import dataset_path
from ..datasets.prompts import class_prompts
from ..names import store_name
from ..settings import Home
from .digests import SCHEME
from .epochs import epochs_in
from .library import clip_path, mlm_path
from .runs import ZERO_SHOT, folder_of, through_its_wrapper
from .wrapper_record import checkpoint_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from store.schema import Run

DIGESTS = SCHEME  # which example sets record: digests of one form are compared; version 0.1 recorded nothing


class About(NamedTuple):
    """What is asked of a dataset, which is remembered of its file: opening it takes numpy and h5py."""

    checksum: str
    class_names: list[str]
    template: str
    pixel_size: int


class Present:
    """The digests of what is here; each is computed once. Empty where something is not here: then nothing is known."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._about = cache(self._remembered)
        self.data = cache(self._data)
        self.model = cache(self._model)
        self.mlm = cache(self._mlm)
        self.weights = cache(self._weights)

    def _weights(self, run: Run, epoch: int | None = None) -> str:
        """Of a run's last epoch or another one, or of a model as it comes; as the index has it where the files are not
        here, which it does of the last."""
        if run.kind == ZERO_SHOT:
            weights = self.model(run.model)
            return (through_its_wrapper(run, weights) if weights else run.weights) or ""
        return _digest(folder_of(run, self._home, epoch), run.model) or ("" if epoch else run.weights or "")

    def _model(self, name: str) -> str:
        """Of a model, or of the last epoch of a run that a training starts from."""
        epochs = epochs_in(self._home.checkpoints / name) if store_name(name) == name else []
        return _digest(clip_path(name, self._home), name) or (_digest(epochs[-1], name) if epochs else "")

    def _mlm(self, name: str) -> str:
        return _digest(mlm_path(name, self._home), name)

    def _data(self, name: str) -> str:
        """Of a dataset's images and prompts, as `data_key` has it."""
        info = self._about(name)
        return data_key(info.checksum, class_prompts(info.class_names, info.template)) if info else ""

    def pixel_size(self, name: str) -> int | None:
        """The side of a dataset's images."""
        info = self._about(name)
        return info.pixel_size if info else None

    def _remembered(self, name: str) -> About | None:
        path = dataset_path(name, self._home)
        try:
            return About(*json.loads(remembered(path, "about", lambda: _told(path))))
        except (UserError, OSError):
            return None


def _told(path: Path) -> str:
    from store.datasets import Dataset

    with Dataset.open(path) as dataset:
        info = dataset.info
    return json.dumps(About(info.checksum, list(info.class_names), info.template, info.pixel_size))


def data_key(checksum: str, prompts: Sequence[str]) -> str:
    """Eight digits for the images and the prompts that something was measured on; another set of a name has others."""
    return key_of([checksum, list(prompts)])[:8]


def _digest(folder: Path, name: str) -> str:
    try:
        return checkpoint_digest(folder, name=name) if folder.is_dir() else ""
    except UserError:
        return ""
