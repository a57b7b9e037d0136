"""Evaluations: one model, one dataset, one attack at a time; each leaves an example set and its rows of the index.

A dataset is cut into fixed blocks, in dataset order. The block is the unit of resume and of sharing between processes,
so an evaluation is bit for bit the same however often it was interrupted and however many processes computed it. In
pieces, where memory runs out, a block is the same up to the rounding of matrix products; and so are images that are
left once they are fooled, in whose place those of later blocks are attacked (`refilled`).
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from store.examples import ExampleSet
from store.index import Index

from .. import attacks
from ..models.runs import now, seen_with
from ..models.stored_lm import stored_mlm
from ..models.subjects import load_subject
from ..settings import Home
from . import unfinished
from .evaluation_spec import EvaluationSpec
from .making import Making
from .subject import Subject
from .trials import Trial, trials_of

if TYPE_CHECKING:
    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim


def evaluate(
    spec: EvaluationSpec, subject: Subject, home: Home, accelerator: Accelerator, *, micro_batch: int | None = None
) -> list[str]:
    """Test `subject` on every dataset under every attack; what is stored is not computed again. At most `micro_batch`
    images are in memory at once.

    Returns the ids of the results in the order asked. Raises UserError for datasets that are not there.
    """
    index, first = Index(home.database_url), accelerator.is_main_process
    trials = trials_of(spec, subject, home)
    victim = load_subject(subject.run, home, epoch=subject.epoch).to(accelerator.device).use_precision(spec.precision)
    for trial in trials:
        trial.task.require(victim, trial.drawn)
    mlm = stored_mlm(spec.mlm, home) if spec.takes_words else None
    if first and not subject.epoch:
        seen_with(subject.run, subject.weights, home, index)
    ids = []
    for trial in trials:
        maker = Maker(trial, accelerator, victim, mlm, micro_batch)
        for attack in spec.attacks:
            started = time.monotonic()
            maker.examples(attack)
            ids.append(trial.evaluation_id(attack))
            if first and not index.results(evaluations=ids[-1:]):
                seconds = time.monotonic() - started
                index.save_results(trial.results(attack, seconds=seconds, device=str(victim.device), now=now()))
    return ids


@dataclass(frozen=True)
class Maker:
    """Makes the example sets of a trial."""

    trial: Trial
    accelerator: Accelerator
    victim: Victim
    mlm: AnyMaskedLM | None
    micro_batch: int | None = None  # images in memory at once, at most
    quiet: bool = False

    def examples(self, name: str) -> ExampleSet:
        """The attack's example set, made (with those it needs) or finished where the store does not have it whole."""
        examples, first = self.trial.examples(name), self.accelerator.is_main_process
        source = replace(self, trial=self.trial.source) if self.trial.source else None
        with examples.lock() if first else nullcontext():
            # the first process looks for all: another run may finish this very set at any moment
            found = examples.missing() if first and not examples.complete else None
            if found:
                unfinished.remember(self.trial, name)
            (missing,) = broadcast_object_list([found])
            if missing is not None:
                attack = attacks.lookup(name)
                needs = [other for other in attack.needs if not source or attacks.lookup(other).changes_nothing]
                needed = {other: self.examples(other) for other in needs}
                shown = source.examples(name) if source and attack.images else None
                own = missing[self.accelerator.process_index :: self.accelerator.num_processes]
                parts = (self.trial, self.victim, self.mlm, self.accelerator, attack, examples, needed, shown)
                Making(*parts, micro_batch=self.micro_batch, quiet=self.quiet).blocks(own)
            elif first:
                examples.finish()  # removes the parts of a set whose run was killed when it was whole
            self.accelerator.wait_for_everyone()
            if first:
                unfinished.forget(examples.key, self.trial.home)
        return examples
