"""An attack on images and class names in memory, as an evaluation makes its examples; nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from store.dataset_info import DatasetInfo
from store.errors import UserError

from .. import attacks, tasks
from ..attacks import Attack
from ..attacks.base import for_texts, with_needs
from ..attacks.compat import TIES
from ..attacks.compat import parts as parts_of
from ..tasks.base import Drawn, Task
from .blocks import Pass
from .evaluation_spec import EvaluationSpec
from .making import ADVERSARIAL, Finished, Making

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim
    from ..tasks.base import Columns, Ints

NAME = "images"


@dataclass(frozen=True)
class Labelled:
    """What a task asks of a dataset: the names of the classes and the label of each image."""

    info: DatasetInfo
    of_images: Ints

    def labels(self, split: str) -> Ints:
        return self.of_images

    def captions(self, split: str) -> list[list[str]]:
        raise UserError("images that are given have classes and no captions", hint="mmcoa evaluate --task retrieval")


@dataclass(frozen=True)
class TrialInMemory:
    """Pixels in [0, 1], (n, 3, S, S), under attack as `spec` says. `indices` are their numbers in a dataset, which
    random starts are drawn by."""

    spec: EvaluationSpec
    images: Tensor
    drawn: Drawn
    indices: Ints
    quiet: bool
    name: str = NAME

    @cached_property
    def task(self) -> Task:
        return tasks.lookup(self.spec.task)

    @property
    def labels(self) -> Ints:
        return self.drawn.labels

    @cached_property
    def own(self) -> Ints:
        return self.task.own(self.drawn)

    @cached_property
    def texts(self) -> list[str]:
        return self.task.texts(self.drawn)

    def settings(self, attack: Attack) -> Any:
        return for_texts(self.spec.settings(attack), len(self.texts))

    def pixels(self, block: range) -> Tensor:
        return self.images[block.start : block.stop]

    def as_attacked(self, pixels: Tensor, device: torch.device) -> Tensor:
        return pixels.to(device)


@dataclass(frozen=True)
class ExamplesInMemory:
    """An example set in memory."""

    n: int
    block_size: int
    _blocks: dict[int, Columns] = field(default_factory=dict)
    _images: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def blocks(self) -> list[range]:
        return [range(start, min(start + self.block_size, self.n)) for start in range(0, self.n, self.block_size)]

    def write_block(self, number: int, columns: Columns, images: tuple[Any, Any] | None = None) -> None:
        self._blocks[number] = columns
        if images:
            self._images[number] = images[1]

    def block_columns(self, number: int) -> Columns:
        return self._blocks[number]

    def block_images(self, number: int, start: int, stop: int, clean: Any) -> npt.NDArray[np.float32]:
        return self.images(start, stop, clean)

    def finish(
        self, *, texts: Mapping[str, Sequence[str]], notes: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        self._texts.update({name: list(lines) for name, lines in texts.items()})
        self._arrays.update(arrays)

    def holds(self, name: str) -> bool:
        return name in self._blocks[0]

    def columns(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([self._blocks[number][name] for number in range(len(self.blocks()))])

    made = columns

    def values(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name] if name in self._arrays else self.columns(name)

    def texts(self, name: str) -> list[str]:
        return self._texts[name]

    def images(self, start: int, stop: int, clean: Any) -> npt.NDArray[np.float32]:
        """Some of a block."""
        number = start // self.block_size
        return self._images[number][start - number * self.block_size :][: stop - start]

    def all_images(self) -> npt.NDArray[np.float32]:
        return np.concatenate([self._images[number] for number in range(len(self.blocks()))])


def trial_in_memory(
    spec: EvaluationSpec, images: Tensor, labels: Tensor, info: DatasetInfo, *, indices: Sequence[int], quiet: bool
) -> TrialInMemory:
    """The images as a trial of one attack."""
    numbers = labels.cpu().numpy().astype(np.int64)
    drawn = Drawn(Labelled(info, numbers), "given", np.arange(len(numbers)))
    return TrialInMemory(spec, images, drawn, np.asarray(indices, dtype=np.int64), quiet)


@dataclass(frozen=True)
class Attacked:
    """What an attack made of `images`, (n, 3, S, S), and `prompts`; clean where it leaves them.

    `predictions` and `clean_predictions` are the classes that the model takes the images for, (n,); `credit` is what
    each counts in the accuracy: 1, 0, or 1/m where m classes tie.
    """

    images: Tensor
    prompts: list[str]
    predictions: Tensor
    clean_predictions: Tensor
    credit: Tensor

    @property
    def accuracy(self) -> float:
        """The share of the images that the model still gets right."""
        return float(self.credit.mean())


def attacked(trial: TrialInMemory, victim: Victim, mlm: AnyMaskedLM | None) -> Attacked:
    """What the one attack of a trial makes. Raises UserError for prompts that the victim cannot tell apart."""
    trial.task.require(victim, trial.drawn)
    attack = attacks.lookup(trial.spec.attacks[0])
    made = _made(attack.name, trial, victim, mlm)
    held = made[attack.name]
    of_images, of_prompts = attack.name if attack.images else attack.images_of, attack.prompts_of
    of_prompts = attack.name if attack.prompts else of_prompts
    device = trial.images.device
    column = trial.task.first_wins(held.values) if TIES in parts_of(trial.spec.compat) else held.values
    outcome = ("prediction", "clean_prediction", "credit")
    return Attacked(
        torch.from_numpy(made[of_images].all_images()).to(device) if of_images else trial.images,
        made[of_prompts].texts(ADVERSARIAL) if of_prompts else trial.texts,
        *(torch.from_numpy(column(name)).to(device) for name in outcome),
    )


def _made(name: str, trial: TrialInMemory, victim: Victim, mlm: AnyMaskedLM | None) -> dict[str, ExamplesInMemory]:
    """The sets of an attack and of all that it needs."""
    sets: dict[str, Making] = {}
    held: dict[str, ExamplesInMemory] = {}
    for attack in with_needs([name]):
        held[attack.name] = ExamplesInMemory(len(trial.labels), trial.spec.batch_size)
        needed: dict[str, Making | Finished] = {need: sets[need] for need in attack.needs}
        todo = tuple(range(len(held[attack.name].blocks())))
        sets[attack.name] = Making(trial, victim, mlm, attack, held[attack.name], needed, todo=todo)
    Pass([*sets.values()]).run()
    return held
