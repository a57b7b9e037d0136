"""What the checks look at: a subject under several attacks, on the same images, and what it says of images directly.

Attacks go through the loop of every evaluation: their examples lie in the store, and are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from store.examples import ExampleSet

from ..attacks import lookup
from ..attacks.radii import fraction, written
from ..attacks.settings import PgdSettings
from ..attacks.starts import random_start
from ..datasets.pixels import load_pixels, to_unit
from ..jobs.evaluation import Maker
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.subject import Subject, find_subject
from ..jobs.trials import Trial, trials_of
from ..models.load import load_subject
from ..models.victim import Victim
from ..settings import Home
from ..tasks.base import Logits, Metric
from .checks import Bools

ATTACK = "image"  # whose number is in question
FEW, MANY = 10, 100  # of its steps

Images = Callable[[int, int], Tensor]  # from one sample to another: (b, 3, S, S)


@dataclass(frozen=True)
class Outcome:
    """What an attack did: the accuracy that it leaves, with its interval, and which images it turned, (n,)."""

    accuracy: Metric
    turned: Bools


@dataclass(frozen=True)
class Evidence:
    """The subject of `spec` under the attack of that, and under others in the same ball."""

    spec: EvaluationSpec
    subject: Subject
    home: Home
    accelerator: Accelerator

    @cached_property
    def victim(self) -> Victim:
        return load_subject(self.subject.run, self.home).to(self.accelerator.device).use_precision(self.spec.precision)

    @cached_property
    def trial(self) -> Trial:
        (trial,) = trials_of(self.spec, self.subject, self.home)
        trial.task.require(self.victim, trial.drawn)
        return trial

    @cached_property
    def settings(self) -> PgdSettings:
        found: PgdSettings = self.spec.settings(lookup(ATTACK))
        return found

    @property
    def n(self) -> int:
        return len(self.trial.indices)

    @cached_property
    def clean(self) -> Outcome:
        return self.under("clean")

    @cached_property
    def pgd(self) -> Outcome:
        """Under the attack in question."""
        return self.under(ATTACK)

    @cached_property
    def short(self) -> dict[str, Any]:
        """The options of few steps, long enough to reach every place of the ball."""
        alpha = max(fraction(str(self.settings.alpha)), fraction(self.settings.eps) * Fraction(5, 2) / FEW)
        return {"steps": FEW, "alpha": written(alpha)}

    @cached_property
    def short_pgd(self) -> Outcome:
        return self.under(ATTACK, **self.short)

    def under(self, attack: str, **options: Any) -> Outcome:
        """Under an attack, with the options of the one in question but for these. Raises UserError where it cannot be
        run."""
        examples = self._examples(attack, **options)
        attacked = not lookup(attack).changes_nothing
        notes = {**examples.notes, "prompts": len(self.trial.texts)}
        accuracy = self.trial.task.measure(examples.values, notes, attacked=attacked)[0]
        return Outcome(accuracy, self.trial.task.turned(examples.values))

    def images(self, attack: str, **options: Any) -> Images:
        """The images that this attack makes."""
        examples = self._examples(attack, **options)

        def images(start: int, stop: int) -> Tensor:
            return torch.from_numpy(examples.images(start, stop, self._pixels(start, stop))).to(self.victim.device)

        return images

    def _examples(self, attack: str, **options: Any) -> ExampleSet:
        spec = self.spec.changed(attacks=(attack,), **options)
        (trial,) = trials_of(spec, self.subject, self.home)
        try:
            return Maker(trial, self.accelerator, self.victim.use_precision(spec.precision), None).examples(attack)
        finally:
            self.victim.use_precision(self.spec.precision)

    @torch.no_grad()
    def turned(self, images: Images, *, batch: int) -> Bools:
        """Which of these images it is wrong about and was not before, taking `batch` at a time: (n,)."""
        trial, task, found = self.trial, self.trial.task, []
        for rows in self._blocks(batch):
            shown = images(rows.start, rows.stop)
            found.append(task.judge(self.victim, shown, trial.own[rows], answer=lambda: self.answer))
        after = {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
        clean = self._examples("clean")
        before = {name: clean.columns(name) for name in after if clean.holds(name)}  # older versions stored fewer
        columns = {**after, **task.compare(before, after), "label": trial.labels}
        column, texts = columns.__getitem__, trial.texts
        arrays = task.arrays(self.victim, trial.drawn, texts, column=column, before=clean.values)
        return task.turned({**columns, **arrays}.__getitem__)

    @cached_property
    def gradients(self) -> Tensor:
        """The greatest part of each image's gradient where the attack begins, NaN where any is: (n,)."""
        return torch.cat([self._gradient(rows) for rows in self._blocks(self.spec.batch_size)])

    def _gradient(self, rows: slice) -> Tensor:
        trial, device = self.trial, self.victim.device
        images, labels = to_unit(self._pixels(rows.start, rows.stop), device), torch.from_numpy(trial.own[rows])
        labels = labels.to(device)
        goal = trial.task.goal(self.victim, images, labels, clean=lambda: self.answer, settings=self.settings)
        start = random_start(self.settings, images, indices=trial.indices[rows].tolist(), seed=self.spec.seed)
        x = (images + start).clamp(0, 1).requires_grad_()
        value, _ = goal(x)
        (gradient,) = torch.autograd.grad(value, x)
        return gradient.abs().amax(dim=(1, 2, 3)).cpu()

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """What the model says of each clean image: (n, K). Raises UserError in a task that has no classes."""
        answer = self.answer
        shown = (
            to_unit(self._pixels(rows.start, rows.stop), self.victim.device)
            for rows in self._blocks(self.spec.batch_size)
        )
        return torch.cat([answer(images).double().softmax(dim=1).cpu() for images in shown])

    @cached_property
    def answer(self) -> Logits:
        return self.trial.task.logits(self.victim, self.trial.texts)

    @property
    def some_images(self) -> Tensor:
        """A clean block."""
        return to_unit(self._pixels(0, min(self.n, self.spec.batch_size)), self.victim.device)

    def of_base(self) -> Evidence | None:
        """The same of the model that the subject was made from, as that comes; None where it is that itself."""
        spec = self.spec.changed(checkpoint=self.subject.run.model)
        subject = find_subject(spec, self.home)
        return None if subject.weights == self.subject.weights else Evidence(spec, subject, self.home, self.accelerator)

    def _pixels(self, start: int, stop: int) -> Any:
        return load_pixels(self.trial.dataset, self.trial.split, self.trial.indices[start:stop])

    def _blocks(self, size: int) -> Iterator[slice]:
        return (slice(start, min(start + size, self.n)) for start in range(0, self.n, size))
