"""What training runs and tests take, in time, memory and on disk, from what a little of each took on this machine
(`measuring.py`)."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..attacks import lookup
from ..attacks.base import effort, for_texts, needs_masked_lm
from ..attacks.compat import LEAK, parts
from ..catalog.recipes import PLAIN, recipes
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_before
from ..jobs.training_spec import TrainSpec
from ..models.memory import MOMENTS, PASSING
from .selection import Data
from .takes import Takes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FIXED, PROMPT_STEPS = 0, 4  # of the terms of a size


@dataclass(frozen=True)
class Size:
    """How much a piece of work is: images, the steps of the attack on each, class prompts, and how many classes the
    images have."""

    images: float
    steps: int
    prompts: int
    classes: int

    @property
    def terms(self) -> tuple[float, ...]:
        """What its time is taken to be a sum of."""
        return (1, self.images, self.images * self.steps, self.prompts, self.prompts * self.steps, self.classes)


@dataclass(frozen=True)
class Cost:
    """Seconds for one of each of a size's terms."""

    terms: tuple[float, ...]

    def of(self, size: Size) -> float:
        return sum(cost * count for cost, count in zip(self.terms, size.terms, strict=True))

    @classmethod
    def fitted(cls, measured: Sequence[tuple[Size, float]], *, stepwise: bool = False) -> Cost:
        """The costs, none below 0, that come closest to what was measured, in proportion to it; each step costs
        something for each prompt only where it is `stepwise`. What was measured of one image only is an image's."""
        import numpy as np
        from scipy.optimize import nnls

        seconds = np.array([max(took, 1e-9) for _, took in measured])
        terms = np.array([size.terms for size, _ in measured]) / seconds[:, None]
        terms[:, PROMPT_STEPS] *= stepwise
        if len({size.images for size, _ in measured}) == 1:
            terms[:, FIXED] = 0
        return cls(tuple(float(cost) for cost in nnls(terms, np.ones(len(seconds)))[0]))


@dataclass(frozen=True)
class Disk:
    """Bytes that are written here: of an epoch's weights, by method, and of each attack's set of examples, as such and
    for each image, by the side of the images that were measured; one that makes none has the same for all."""

    weights: Mapping[str, float]
    examples: Mapping[str, Mapping[int, tuple[float, float]]]

    def training(self, spec: TrainSpec, data: Data, keep: int | None) -> float:
        """Of the epochs that are kept (all, where that is None), and of the training images that are attacked before
        the first."""
        return self.checkpoints(spec, keep) + self.offline(spec, data)

    def checkpoints(self, spec: TrainSpec, keep: int | None) -> float:
        """Of the epochs that are kept, beside several of the optimizer's state, which has two numbers for each
        weight."""
        kept = min(spec.epochs, keep or spec.epochs) + (0 if keep == 1 else 2)
        return kept * self.weights[spec.method]

    def offline(self, spec: TrainSpec, data: Data) -> float:
        """Of the training images that are attacked before the first epoch."""
        test = evaluation_before(spec)
        return self._of_set(test.attacks[0], data.pixel_size, images_of(spec, data)) if test else 0.0

    def between(self, spec: TrainSpec, models: int) -> float:
        """Of the models on the way to a run."""
        return models * self.weights[spec.method]

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str]) -> float:
        """Of these attacks of `spec`."""
        side = spec.pixel_size or data.pixel_size
        return sum(self._of_set(name, side, tested(spec, data)) for name in attacks)

    def _of_set(self, attack: str, side: int, images: int) -> float:
        """As the nearest side had it that was measured, an image by its area."""
        measured = self.examples[attack]
        nearest = min(measured, key=lambda one: abs(math.log(one / side)))
        alone, each = measured[nearest]
        return alone + images * each * ((side / nearest) ** 2 if lookup(attack).images else 1)


@dataclass(frozen=True)
class Speed:
    """What one step of each method and each attack's set of examples cost here with one model.

    `load` are the seconds of a job itself (its names looked up, its model loaded, its results stored), `read` those in
    which a model is read and hashed, `load_words` those until it has the masked LM too, and `word` those in
    which that is asked for one class prompt, once in a training run that needs it.
    """

    methods: Mapping[str, Cost]
    attacks: Mapping[str, Cost]
    leaking: Mapping[str, Cost] = field(default_factory=dict)  # a step whose attack leaks, where it was measured
    load: float = 0.0
    load_words: float = 0.0
    read: float = 0.0
    word: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    ranks: int = 1  # devices that share the images
    disk: Disk | None = None
    memory: Memory | None = None
    any_size: bool = True  # whether the image encoder takes smaller images, as a recipe has them

    def of_training(self, spec: TrainSpec, data: Data, *, keep: int | None, most: int | None = None) -> Takes:
        """What a run takes of which the last `keep` epochs stay, and of whose images at most `most` are in memory."""
        images, left = images_of(spec, data), self.disk.training(spec, data, keep) if self.disk else None
        memory = self.memory.training(spec, data, images=images, most=most) if self.memory else None
        return Takes(self.training(spec, data), memory, left)

    def of_test(self, spec: EvaluationSpec, data: Data, *, attacks: Sequence[str]) -> Takes:
        """What these attacks of `spec` take."""
        left = self.disk.test(spec, data, attacks=attacks) if self.disk else None
        memory = self.memory.test(spec, data, attacks=attacks, images=tested(spec, data)) if self.memory else None
        return Takes(self.test(spec, data, attacks=attacks), memory, left)

    def training(self, spec: TrainSpec, data: Data) -> float:
        """Seconds of a run."""
        images = images_of(spec, data)
        costs = {**self.methods, **(self.leaking if LEAK in parts(spec.compat) else {})}
        steps = sum(count * costs[spec.method].of(size) for count, size in self._steps(spec, data, images))
        before = self._load(spec.row.attacks) + self.word.get(spec.method, 0.0) * data.classes
        return before + self._offline(spec, data, images) + steps

    def _steps(self, spec: TrainSpec, data: Data, images: int) -> Iterator[tuple[int, Size]]:
        """The steps of each stage: how many, and of what size; a smaller image is so much less of one."""
        batch, usual, begun = min(spec.batch_size, images), spec.image_attack.steps, 0
        updates = math.ceil(images / batch)
        for end, stage in recipes().get(spec.recipe, PLAIN).in_steps(updates * spec.epochs):
            attacked = usual if stage.steps is None else min(stage.steps, usual)
            area = stage.side**2 if self.any_size else 1.0
            size = Size(area * images / updates / self.ranks, attacked, data.classes, min(batch, data.classes))
            yield end - begun, size
            begun = end

    def _offline(self, spec: TrainSpec, data: Data, images: int) -> float:
        """Of the attack on the training images before the first step."""
        test = evaluation_before(spec)
        if test is None:
            return 0.0
        (name,) = test.attacks
        steps = steps_of(test, name, classes=data.classes)
        return self.attacks[name].of(Size(images / self.ranks, steps, data.classes, data.classes))

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str]) -> float:
        """Seconds of these attacks of `spec`, each on top of the examples that it needs."""
        images = tested(spec, data) / self.ranks
        sizes = {
            name: Size(images, steps_of(spec, name, classes=data.classes), data.classes, data.classes)
            for name in attacks
        }
        seconds = sum(self.attacks[name].of(size) for name, size in sizes.items())
        return self._load(spec.attacks) + seconds if sizes else 0.0

    def between(self, models: int) -> float:
        """Seconds of models between two, each of which is written and hashed as these are read."""
        return (2 + models) * self.read

    def _load(self, attacks: Iterable[str]) -> float:
        return self.load + (self.load_words if needs_masked_lm(attacks) else 0.0)


def images_of(spec: TrainSpec, data: Data) -> int:
    """The number of images a run is trained on."""
    return data.train if spec.shots == "full" else min(data.train, int(spec.shots) * data.classes)


def tested(spec: EvaluationSpec, data: Data) -> int:
    """The number of images a test is made on."""
    return min(data.test, spec.limit or data.test)


def steps_of(spec: EvaluationSpec, attack: str, *, classes: int) -> int:
    """The most steps that an attack itself takes on an image, of so many classes."""
    found = lookup(attack)
    return effort(for_texts(spec.settings(found), classes)) if found.settings else 1


@dataclass(frozen=True)
class Memory:
    """Bytes of what is there before anything is computed, of the weights that each method trains, and of what each
    method and attack holds: as such, for each image, and for each class prompt."""

    base: float
    weights: Mapping[str, float]
    held: Mapping[str, tuple[float, ...]]
    free: float

    def training(self, spec: TrainSpec, data: Data, *, images: int, most: int | None = None) -> float:
        """Of a run on so many images, of which at most `most` are in memory at once."""
        at_once = min(spec.batch_size, images, most or images)
        return self.base + MOMENTS * self.weights[spec.method] + self._held(spec.method, at_once, data.classes)

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str], images: int) -> float:
        """Of the attack that takes most."""
        at_once = min(spec.batch_size, images)
        return self.base + max((self._held(name, at_once, data.classes) for name in attacks), default=0.0)

    def _held(self, name: str, images: int, classes: int) -> float:
        each = self.held.get(name, (0.0, 0.0, 0.0))
        return PASSING * (each[0] + images * each[1] + min(classes, images) * each[2])


@dataclass
class Held:
    """What autograd holds for the backward pass, of each method and attack that is run inside `of`."""

    seen: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str, *, images: int, prompts: int, weights: Iterable[Tensor]) -> Iterator[None]:
        """Inside, `name` computes on so many images and prompts."""
        from ..models.memory import counted

        with counted(weights) as held:
            yield
        gc.collect()
        self.seen.setdefault(name, []).append((images, prompts, held.most))

    def fitted(self) -> dict[str, tuple[float, ...]]:
        """Bytes as such, for each image and for each prompt, none below 0."""
        import numpy as np
        from scipy.optimize import nnls

        found = {}
        for name, seen in self.seen.items():
            several = len({images for images, _, _ in seen}) > 1  # else all that is held is an image's
            terms = np.array([(several, images, prompts) for images, prompts, _ in seen], dtype=float)
            found[name] = tuple(float(one) for one in nnls(terms, np.array([most for *_, most in seen], float))[0])
        return found


def taken(device: torch.device) -> float:
    """Bytes that this process has taken there."""
    import psutil  # type: ignore[import-untyped]
    import torch

    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return float(psutil.Process().memory_info().rss)
