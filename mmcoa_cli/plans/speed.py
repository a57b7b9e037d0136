"""What training runs and tests take on this machine, in time and memory, from what a little of each took
(`measuring.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..attacks import lookup
from ..attacks.base import effort, for_texts, needs_masked_lm
from ..attacks.compat import LEAK, parts
from ..catalog.recipes import PLAIN, recipes
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_before
from ..jobs.training_spec import TrainSpec
from ..models.memory import MOMENTS, PASSING
from .resources import Resources
from .selection import Data

PROMPT_STEPS = 4  # of the terms of a size


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

    @property
    def held(self) -> tuple[float, ...]:
        """What its memory is taken to be a sum of: no more prompts than images are held at once."""
        return (1, self.images, min(self.images, self.prompts))


class Measured(NamedTuple):
    """The seconds that work of a size took, and the bytes that autograd held for its backward pass."""

    size: Size
    seconds: float
    held: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What a step of a method, or the examples of an attack, cost: seconds for each of a size's terms, and bytes held
    for each of those of its memory; the bytes of the weights that are trained; and for each class prompt the seconds in
    which a masked LM is asked for it before the first step."""

    seconds: tuple[float, ...]
    held: tuple[float, ...] = (0.0, 0.0, 0.0)
    weights: float = 0.0
    word: float = 0.0

    def of(self, size: Size) -> float:
        """Seconds."""
        return sum(cost * count for cost, count in zip(self.seconds, size.terms, strict=True))

    def memory(self, size: Size) -> float:
        """Bytes at the peak, beside what is there before anything is computed."""
        held = sum(each * count for each, count in zip(self.held, size.held, strict=True))
        return MOMENTS * self.weights + PASSING * held


def fitted(measured: Sequence[Measured], *, stepwise: bool = False, weights: float = 0.0, word: float = 0.0) -> Cost:
    """The cost that comes closest to what was measured; each step takes time for each prompt only where it is
    `stepwise`."""
    terms = [[*one.size.terms] for one in measured]
    for row in terms:
        row[PROMPT_STEPS] *= stepwise
    seconds = _closest(terms, [one.seconds for one in measured])
    return Cost(
        seconds, _closest([[*one.size.held] for one in measured], [one.held for one in measured]), weights, word
    )


def _closest(terms: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, ...]:
    """The factors of the terms, none below 0, that come closest to the values, in proportion to them. The first two
    terms are 1 and the number of images: what was measured of one number alone is all the images'."""
    import numpy as np
    from scipy.optimize import nnls

    rows, wanted = np.array(terms, float), np.maximum(np.array(values, float), 1e-9)
    rows[:, 0] *= len(set(rows[:, 1])) > 1
    return tuple(float(factor) for factor in nnls(rows / wanted[:, None], np.ones(len(wanted)))[0])


@dataclass(frozen=True)
class Speed:
    """What one step of each method and each attack's set of examples cost here with one model.

    `load` are the seconds of a job itself (its names looked up, its model loaded, its results stored), `read` those in
    which a model is read and hashed, `load_words` those until it has the masked LM too. `base` are the bytes of memory
    that are taken before anything is computed, `free` those that are left then.
    """

    methods: Mapping[str, Cost]
    attacks: Mapping[str, Cost]
    leaking: Mapping[str, Cost] = field(default_factory=dict)  # a step whose attack leaks, where it was measured
    load: float = 0.0
    load_words: float = 0.0
    read: float = 0.0
    device: str = ""
    ranks: int = 1  # devices that share the images
    any_size: bool = True  # whether the image encoder takes smaller images, as a recipe has them
    base: float = 0.0
    free: float = 0.0

    def of_training(self, spec: TrainSpec, data: Data, *, most: int | None = None) -> Resources:
        """What a run takes of whose images at most `most` are in memory."""
        images = images_of(spec, data)
        cost = {**self.methods, **(self.leaking if LEAK in parts(spec.compat) else {})}[spec.method]
        steps = sum(count * cost.of(size) for count, size in self._steps(spec, data, images))
        before = self._load(spec.row.attacks) + cost.word * data.classes + self._offline(spec, data, images)
        memory = cost.memory(_whole(min(spec.batch_size, images, most or images), data))
        return Resources(before + steps, self.base + memory)

    def of_test(self, spec: EvaluationSpec, data: Data, *, attacks: Sequence[str]) -> Resources:
        """What these attacks of `spec` take, each on top of the examples that it needs."""
        if not attacks:
            return Resources(0.0, self.base)
        images = tested(spec, data)
        seconds = sum(self._examples(spec, name, data, images) for name in attacks)
        at_once = _whole(min(spec.batch_size, images), data)
        memory = max(self.attacks[name].memory(at_once) for name in attacks)
        return Resources(self._load(spec.attacks) + seconds, self.base + memory)

    def between(self, models: int) -> float:
        """Seconds of models between two, each of which is written and hashed as these are read."""
        return (2 + models) * self.read

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
        """Seconds of the attack on the training images before the first step."""
        test = evaluation_before(spec)
        return self._examples(test, test.attacks[0], data, images) if test else 0.0

    def _examples(self, spec: EvaluationSpec, attack: str, data: Data, images: int) -> float:
        """Seconds of the examples of so many images."""
        steps = steps_of(spec, attack, classes=data.classes)
        return self.attacks[attack].of(Size(images / self.ranks, steps, data.classes, data.classes))

    def _load(self, attacks: Iterable[str]) -> float:
        return self.load + (self.load_words if needs_masked_lm(attacks) else 0.0)


def _whole(images: int, data: Data) -> Size:
    """The size of what is in memory at once."""
    return Size(images, 1, data.classes, data.classes)


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
