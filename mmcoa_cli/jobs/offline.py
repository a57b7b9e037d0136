"""Training images that are attacked once, before the first step, and kept in the store: an example set of their own.

Its key is that of any example set, of the training split: so another run on the same images, whatever else it trains or
how, finds them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..datasets.pixels import load_pixels
from ..models.victim import Victim
from ..settings import Home, require_space
from .evaluation import Maker
from .training_plan import Plan, run_row
from .trials import Ints, Trial, before_training


@dataclass
class OfflineFeatures:
    """The features of a training's images under the attack that its method names as `offline`."""

    plan: Plan
    home: Home
    accelerator: Accelerator
    _features: Tensor | None = None

    def __call__(self, victim: Victim, images: Ints) -> Tensor:
        """f(x') of these images of the training split, as `victim`, the model that training starts from, has it: raw,
        (b, D). All are attacked, and encoded, when the first are asked for."""
        if self._features is None:
            self._features = self._made(victim)
        return self._features[torch.from_numpy(np.searchsorted(self._trial.indices, images)).to(victim.device)]

    @torch.no_grad()
    def _made(self, victim: Victim) -> Tensor:
        trial, found = self._trial, []
        self._require_space(trial)
        with torch.enable_grad():
            examples = Maker(trial, self.accelerator, victim, None).examples(self.plan.row.offline)
        for block in examples.blocks():
            pixels = load_pixels(trial.dataset, trial.split, trial.indices[block.start : block.stop])
            images = torch.from_numpy(examples.images(block.start, block.stop, pixels)).to(victim.device)
            found.append(victim.image_features(images))
        return torch.cat(found)

    def _require_space(self, trial: Trial) -> None:
        """Raises UserError unless the disk takes the attacked images, of which few are on the grid of 8-bit ones."""
        if not trial.examples(self.plan.row.offline).complete:
            self.home.examples.mkdir(parents=True, exist_ok=True)
            values = len(trial.indices) * 3 * trial.dataset.info.pixel_size**2
            what = f"the attack before run {self.plan.run}"
            require_space(values * np.dtype(np.float32).itemsize, folder=self.home.examples, name=what)

    @cached_property
    def _trial(self) -> Trial:
        found = before_training(self.plan.spec, run_row(self.plan), self.plan.dataset, self.home)
        assert found  # the row of the method names an attack
        return found
