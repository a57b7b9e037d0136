"""What the parts of a bench share: the device, the models, the class prompts, and a folder that is removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from store.dataset_writing import DatasetWriter
from store.datasets import Dataset

from .. import catalog
from ..datasets.pixels import Pixels
from ..datasets.prompts import class_prompts
from ..models.architectures import build
from ..models.clip import Clip
from ..models.library import clip_path, mlm_path
from ..models.masked_lm import MaskedLM
from ..settings import Home
from .asked import Asked, Sized
from .floor import Machine, Work
from .release import Release
from .subject import RANDOM, STORED, class_names, load_clip_of, load_mlm_of

SPLIT = "train"  # of the datasets that are read


@dataclass(frozen=True)
class Bench:
    """One bench under way; models are loaded when a part needs them. What it writes lies in `folder`."""

    asked: Asked
    home: Home
    folder: Path
    device: torch.device
    facts: dict[str, float] = field(default_factory=dict)  # what was found that is no time

    @cached_property
    def sized(self) -> Sized:
        return self.asked.sized(self.device.type)

    @cached_property
    def machine(self) -> Machine:
        return Machine(self.device, self.asked.precision, self.folder)

    @cached_property
    def clip(self) -> Clip:
        return load_clip_of(self.asked.model, self.home).to(self.device).use_precision(self.asked.precision)

    @cached_property
    def mlm(self) -> MaskedLM:
        mlm = load_mlm_of(self.asked.mlm, self.home)
        mlm.model.to(self.device)
        return mlm

    @cached_property
    def release(self) -> Release:
        """The plain loop on the same weights, in open_clip's own modules: mmcoa may have quicker ones."""
        clip = self.clip
        model = build(clip.config).eval()
        model.load_state_dict(clip.model.state_dict(), assign=True)  # the very tensors, each with a gradient of its own
        model = model.to(self.device)
        return Release(model, clip.tokenizer, clip.image_size, clip.mean, clip.std)

    @cached_property
    def work(self) -> Work:
        context = int(self.clip.tokenizer.context_length)
        return Work(self.clip.config, side=self.clip.image_size, context=context)

    @property
    def few(self) -> int:
        """The number of classes that image attacks and training are measured with."""
        return self.sized.classes[0]

    def names(self, number: int) -> list[str]:
        return class_names(number)

    def prompts(self, number: int, *, template: str = catalog.TEMPLATE) -> list[str]:
        return class_prompts(self.names(number), template)

    def pixels(self, number: int) -> Pixels:
        """Noise, (number, S, S, 3), of the model's own side: what an image shows decides nothing about speed."""
        side = self.clip.image_size
        return np.random.default_rng(0).integers(256, size=(number, side, side, 3), dtype=np.uint8)

    def labels(self, number: int) -> Tensor:
        return torch.arange(number, device=self.device) % self.few

    def dataset(self, images: Sequence[Pixels | bytes], names: Sequence[str], *, side: int, **said: Any) -> Dataset:
        """A file of these images, of one class after another, in the split `SPLIT`, to be attacked at `side` pixels."""
        path = self.folder / f"{len(list(self.folder.glob('*.h5')))}.h5"
        writer = DatasetWriter(
            path, name=path.stem, class_names=tuple(names), pixel_size=side, template=catalog.TEMPLATE,
            source="mmcoa bench", **said,
        )  # fmt: skip
        with writer as out:
            for number, image in enumerate(images):
                out.add(SPLIT, image, number % len(names))
        return Dataset.open(path)

    def told(self) -> dict[str, Any]:
        """Which weights were measured, of the models that were loaded."""
        places = {"clip": clip_path(self.asked.model, self.home), "mlm": mlm_path(self.asked.mlm, self.home)}
        told = {name: STORED if path.exists() else RANDOM for name, path in places.items() if name in vars(self)}
        return {"weights": told.get("clip"), "mlm_weights": told.get("mlm")}
