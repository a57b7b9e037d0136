"""How long training runs and tests take, from what a little of each took on this machine (`measuring.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..attacks import lookup
from ..attacks.base import effort, for_texts, needs_masked_lm
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec
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


@dataclass(frozen=True)
class Cost:
    """Seconds for one of each of a size's terms."""

    terms: tuple[float, ...]

    def of(self, size: Size) -> float:
        return sum(cost * count for cost, count in zip(self.terms, size.terms, strict=True))

    @classmethod
    def fitted(cls, measured: Sequence[tuple[Size, float]], *, stepwise: bool = False) -> Cost:
        """The costs, none below 0, that come closest to what was measured, in proportion to it; each step costs
        something for each prompt only where it is `stepwise`."""
        import numpy as np
        from scipy.optimize import nnls

        seconds = np.array([max(took, 1e-9) for _, took in measured])
        terms = np.array([size.terms for size, _ in measured]) / seconds[:, None]
        terms[:, PROMPT_STEPS] *= stepwise
        return cls(tuple(float(cost) for cost in nnls(terms, np.ones(len(seconds)))[0]))


@dataclass(frozen=True)
class Disk:
    """Bytes that are written here: of an epoch's weights, by method, and of each attack's set of examples, as such and
    for each image of `side` pixels squared."""

    weights: Mapping[str, float]
    examples: Mapping[str, tuple[float, float]]
    side: int

    def training(self, spec: TrainSpec, keep: int | None) -> float:
        """Of the epochs that are kept, all where that is None; and, beside several, of the optimizer's state, which has
        two numbers for each weight."""
        epochs = min(spec.epochs, keep or spec.epochs)
        return (epochs + 2 * (keep != 1)) * self.weights[spec.method]

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str]) -> float:
        """Of these attacks of `spec`."""
        size = (spec.pixel_size or data.pixel_size) / self.side
        of_set = [self.examples[name] for name in attacks]
        return sum(alone + each * tested(spec, data) * size**2 for alone, each in of_set)


@dataclass(frozen=True)
class Speed:
    """What one step of each method and each attack's set of examples cost here with one model.

    `load` are the seconds in which a job begins, `load_words` those until it has the masked LM too, and `word` those in
    which that is asked for one class prompt, once in a training run that needs it.
    """

    methods: Mapping[str, Cost]
    attacks: Mapping[str, Cost]
    load: float = 0.0
    load_words: float = 0.0
    word: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    ranks: int = 1  # devices that share the images
    disk: Disk | None = None

    def training(self, spec: TrainSpec, data: Data) -> float:
        """Seconds of a run."""
        images = images_of(spec, data)
        batch = min(spec.batch_size, images)
        updates = math.ceil(images / batch)
        one = Size(images / updates / self.ranks, spec.image_attack.steps, data.classes, min(batch, data.classes))
        an_epoch = updates * self.methods[spec.method].of(one)
        return self._load(spec.row.attacks) + self.word.get(spec.method, 0.0) * data.classes + spec.epochs * an_epoch

    def test(self, spec: EvaluationSpec, data: Data, *, attacks: Iterable[str]) -> float:
        """Seconds of these attacks of `spec`, each on top of the examples that it needs."""
        images = tested(spec, data) / self.ranks
        sizes = {
            name: Size(images, steps_of(spec, name, classes=data.classes), data.classes, data.classes)
            for name in attacks
        }
        seconds = sum(self.attacks[name].of(size) for name, size in sizes.items())
        return self._load(spec.attacks) + seconds if sizes else 0.0

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
