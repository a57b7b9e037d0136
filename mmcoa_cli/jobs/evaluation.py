"""Evaluations: one model, one dataset at a time; each attack leaves an example set and its rows of the index.

A dataset is cut into fixed blocks, in dataset order. The block is the unit of resume and of sharing between processes,
so an evaluation is bit for bit the same however often it was interrupted and however many processes computed it. In
pieces, where memory runs out, a block is the same up to the rounding of matrix products; and so are images that are
left once they are fooled, in whose place those of later blocks are attacked (`refilling.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from store.examples import ExampleSet
from store.index import Index

from .. import attacks
from ..attacks import Attack
from ..models.load import load_subject
from ..models.runs import now, seen_with
from ..models.stored_lm import stored_mlm
from ..settings import Home
from . import unfinished
from .blocks import Pass
from .evaluation_spec import EvaluationSpec
from .making import Finished, Making
from .subject import Subject, words_of
from .trials import Trial, trials_of

if TYPE_CHECKING:
    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim


def evaluate(
    specs: Sequence[EvaluationSpec], subject: Subject, home: Home, accelerator: Accelerator, *,
    micro_batch: int | None = None,
) -> list[str]:  # fmt: skip
    """Test `subject` as each of `specs` says, of one precision, on every dataset under every attack; what is stored is
    not computed again. At most `micro_batch` images are in memory at once. `subject` has the words of the first.

    Returns the ids of the results in the order asked. Raises UserError for datasets that are not there.
    """
    index, first = Index(home.database_url), accelerator.is_main_process
    others = [replace(subject, words=words_of(spec, home)) for spec in specs[1:]]
    trials = [
        trial for spec, own in zip(specs, [subject, *others], strict=True) for trial in trials_of(spec, own, home)
    ]
    victim = load_subject(subject.run, home, epoch=subject.epoch).to(accelerator.device)
    victim = victim.use_precision(specs[0].precision)
    if specs[0].fast:
        victim.clip.compile_where_it_pays(quiet=not first)
    for trial in trials:
        trial.task.require(victim, trial.drawn)
    mlms = {spec.mlm: stored_mlm(spec.mlm, home, accelerator.device) for spec in specs if spec.takes_words}
    if first and not subject.epoch:
        seen_with(subject.run, subject.weights, home, index)
    ids = []
    for trial in trials:
        asked = trial.spec.attacks
        maker = Maker(trial, accelerator, victim, mlms.get(trial.spec.mlm), micro_batch)
        try:
            with victim.clip.pixels_alone():  # nothing is trained
                maker.all(asked)
        finally:  # what an attack that failed does not need is kept
            for attack in asked if first else ():
                _save(trial, attack, index, seconds=maker.seconds.get(attack, 0.0), device=str(victim.device))
        ids += [trial.evaluation_id(attack) for attack in asked]
    return ids


def _save(trial: Trial, attack: str, index: Index, *, seconds: float, device: str) -> None:
    """Put the results of a set that is whole into the index, where they are not there."""
    if trial.examples(attack).complete and not index.results(evaluations=[trial.evaluation_id(attack)]):
        index.save_results(trial.results(attack, seconds=seconds, device=device, now=now()))


@dataclass(frozen=True)
class Maker:
    """Makes the example sets of a trial."""

    trial: Trial
    accelerator: Accelerator
    victim: Victim
    mlm: AnyMaskedLM | None
    micro_batch: int | None = None  # images in memory at once, at most
    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)  # that each attack took

    def examples(self, name: str) -> ExampleSet:
        """The attack's example set, made as `all` makes it."""
        self.all([name])
        return self.trial.examples(name)

    def all(self, names: Iterable[str]) -> None:
        """Make the example sets of these attacks, and those that they need, or finish them, where the store does not
        have them whole.

        Raises UserError for an attack that cannot be made; what does not need it is made all the same.
        """
        wanted = [*self._wanted(names)] if self._first else []
        with ExitStack() as held:
            # every run takes them in the same order, so that two never wait for each other
            for examples in sorted((self.trial.examples(name) for name in wanted), key=lambda examples: examples.key):
                held.enter_context(examples.lock())
            # the first process looks for all: another run may finish a set at any moment
            (missing,) = broadcast_object_list([{name: self._missing(name) for name in wanted}])
            todo = {name: blocks for name, blocks in missing.items() if blocks is not None}
            source = self._source(todo)
            for wave in waves([attacks.lookup(name) for name in todo], self.trial):
                self._make(wave, todo, source)

    def _wanted(self, names: Iterable[str]) -> dict[str, None]:
        """These attacks, and those that the sets which are not whole need, these first."""
        found: dict[str, None] = {}
        for name in names:
            if not self.trial.examples(name).complete:
                found |= self._wanted(self._needs(attacks.lookup(name)))
            found[name] = None
        return found

    def _needs(self, attack: Attack) -> list[str]:
        """The attacks whose sets this one's takes something from. A task that looks at the images of another one
        makes none, and so needs none but the clean ones."""
        return [name for name in attack.needs if not self.trial.source or attacks.lookup(name).changes_nothing]

    def _missing(self, name: str) -> list[int] | None:
        """The numbers of the blocks that a set lacks; None where it is whole."""
        examples = self.trial.examples(name)
        if examples.complete:
            examples.finish()  # removes the parts of a set whose run was killed when it was whole
            unfinished.forget(examples.key, self.trial.home)
            return None
        missing = examples.missing()
        if missing:
            unfinished.remember(self.trial, name)
        return missing

    def _source(self, todo: Iterable[str]) -> Trial | None:
        """The trial whose images these attacks' sets look at, which are made first; None where they make their own."""
        if self.trial.source is None:
            return None
        replace(self, trial=self.trial.source).all(name for name in todo if attacks.lookup(name).images)
        return self.trial.source

    def _make(self, wave: Sequence[Attack], todo: Mapping[str, Sequence[int]], source: Trial | None) -> None:
        """All sets of a wave. A block is made by one process, for all attacks that lack it."""
        every = sorted({number for attack in wave for number in todo[attack.name]})
        own = every[self.accelerator.process_index :: self.accelerator.num_processes]
        sets: dict[str, Making] = {}
        for attack in wave:
            examples, name = self.trial.examples(attack.name), attack.name
            needed = {need: sets.get(need) or Finished(self.trial.examples(need)) for need in self._needs(attack)}
            shown = source.examples(name) if source and attack.images else None
            parts = (self.trial, self.victim, self.mlm, attack, examples, needed, shown)
            mine = tuple(number for number in own if number in todo[name])
            sets[name] = Making(*parts, micro_batch=self.micro_batch, todo=mine)
        try:
            Pass([*sets.values()], self.accelerator, quiet=self.quiet, seconds=self.seconds).run()
        finally:
            for examples in (self.trial.examples(name) for name in sets if self._first):
                if examples.complete:
                    unfinished.forget(examples.key, self.trial.home)
        self.accelerator.wait_for_everyone()

    @property
    def _first(self) -> bool:
        return bool(self.accelerator.is_main_process)


def waves(wanted: Sequence[Attack], trial: Trial) -> list[list[Attack]]:
    """Which sets are made in one pass, and in what order: those of blocks of the same size, as they were begun; and
    where texts are attacked after all images, what needs any that were changed comes after these are finished."""
    after: dict[str, tuple[int, int]] = {}
    for attack in wanted:
        size, wave = trial.examples(attack.name).block_size, 0
        for need in attack.needs:
            if need in after:
                together = trial.task.texts_first or attacks.lookup(need).changes_nothing
                wave = max(wave, after[need][0] + (not together or after[need][1] != size))
        after[attack.name] = (wave, size)
    return [[one for one in wanted if after[one.name] == which] for which in sorted(set(after.values()))]
