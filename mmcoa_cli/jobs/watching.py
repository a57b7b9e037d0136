"""How robust a model is while it is trained: the test that a run ends with, made in between. Only its numbers stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from accelerate import Accelerator

from ..models.dtensors import is_dtensor
from ..models.load import load_subject
from ..models.stored_lm import stored_mlm
from ..models.victim import Victim
from ..settings import Home
from ..terminal.console import say
from .evaluation import Maker
from .evaluation_spec import EvaluationSpec
from .subject import Subject, words_of
from .training_plan import Plan, run_row
from .trials import trials_of

SHOWN = ("clean_accuracy", "robust_accuracy")


@dataclass(frozen=True)
class Watch:
    """Makes the test `spec` of the plan's victim as it is, after every so many epochs (None: never)."""

    plan: Plan
    spec: EvaluationSpec | None
    home: Home
    accelerator: Accelerator
    every: int | None = None

    def after(self, epoch: int) -> dict[str, float]:
        """The accuracies after this epoch, each by its name and attack; none where it is not one of those."""
        if self.spec is None or self.every is None or epoch % self.every:
            return {}
        found: dict[str, float] = {}
        with self._own_home() as own:
            subject = Subject(run_row(self.plan), f"after epoch {epoch}", words_of(self.spec, self.home))
            words, device = self.spec.takes_words, self.accelerator.device
            mlm = stored_mlm(self.spec.mlm, self.home, device) if words else None
            for trial in trials_of(self.spec, subject, self.home):
                maker = Maker(replace(trial, home=own), self.accelerator, self._victim(epoch), mlm, quiet=True)
                maker.all(self.spec.attacks)
                for attack in self.spec.attacks:
                    for row in maker.trial.results(attack, seconds=0, device="", now="") if self._first else ():
                        if row.metric in SHOWN:
                            found[f"{row.metric}/{attack}"] = row.value
        self._tell(epoch, found)
        return found

    def _victim(self, epoch: int) -> Victim:
        """The one in training; where it is divided among processes, which test different images, as it was stored."""
        victim, spec = self.plan.victim, self.plan.spec
        if not any(is_dtensor(weight) for weight in victim.parameters()):
            return victim
        stored = load_subject(run_row(self.plan), self.home, epoch=epoch)
        return stored.to(self.accelerator.device).use_precision(spec.precision)

    def _tell(self, epoch: int, found: dict[str, float]) -> None:
        if self._first:
            shown = ", ".join(f"{name.partition('/')[2]} {100 * value:.2f}" for name, value in found.items())
            say(f"after epoch {epoch}: {shown}")

    @property
    def _first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @contextmanager
    def _own_home(self) -> Iterator[Home]:
        """A place for examples that nobody needs any more afterwards; one that a kill left is removed."""
        folder = self.home.runs / self.plan.run / "watched"
        if self._first:
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            yield Home(folder, self.home.database_url)
        finally:
            if self._first:
                shutil.rmtree(folder, ignore_errors=True)
