"""Evaluations: one model, one dataset, one attack at a time; each leaves an example set and its rows of the index.

A dataset is cut into fixed blocks, in dataset order. The block is the unit of resume and of sharing between processes,
so an evaluation is bit for bit the same however often it was interrupted and however many processes computed it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from store.examples import ExampleSet
from store.index import Index

from .. import attacks
from ..attacks import Attack
from ..attacks.base import Batch, Texts, effort
from ..datasets.pixels import load_pixels, to_unit
from ..models.finite import require_finite
from ..models.masked_lm import MaskedLM
from ..models.runs import now, seen_with
from ..models.subjects import load_mlm, load_subject
from ..settings import Home
from ..tasks.base import Logits
from ..terminal.console import Task as Progress
from ..terminal.console import progress
from .evaluation_spec import EvaluationSpec
from .subject import Subject
from .trials import Trial, trials_of

if TYPE_CHECKING:
    from ..models.victim import Victim


def evaluate(spec: EvaluationSpec, subject: Subject, home: Home, accelerator: Accelerator) -> list[str]:
    """Test `subject` on every dataset under every attack; what is stored is not computed again.

    Returns the ids of the results in the order asked. Raises UserError for datasets that are not there.
    """
    index, first = Index(home.database_url), accelerator.is_main_process
    trials = trials_of(spec, subject, home)
    victim = load_subject(subject.run, home, epoch=subject.epoch).to(accelerator.device).use_precision(spec.precision)
    for trial in trials:
        trial.task.require(victim, trial.info)
    mlm = load_mlm(spec.mlm, home) if spec.takes_words else None
    if first and not subject.epoch:
        seen_with(subject.run, subject.weights, home, index)
    ids = []
    for trial in trials:
        maker = Maker(trial, accelerator, victim, mlm)
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
    mlm: MaskedLM | None

    def examples(self, name: str) -> ExampleSet:
        """The attack's example set, made (with those it needs) or finished where the store does not have it whole."""
        examples, first = self.trial.examples(name), self.accelerator.is_main_process
        with examples.lock() if first else nullcontext():
            # the first process looks for all: another run may finish this very set at any moment
            found = examples.missing() if first and not examples.complete else None
            (missing,) = broadcast_object_list([found])
            if missing is not None:
                attack = attacks.lookup(name)
                needed = {other: self.examples(other) for other in attack.needs}
                own = missing[self.accelerator.process_index :: self.accelerator.num_processes]
                Making(self, attack, examples, needed).blocks(own)
            elif first:
                examples.finish()  # removes the parts of a set whose run was killed when it was whole
            self.accelerator.wait_for_everyone()
        return examples


@dataclass(frozen=True)
class Making:
    """One example set in the making; `needed` are those of the attacks that it needs."""

    maker: Maker
    attack: Attack
    examples: ExampleSet
    needed: dict[str, ExampleSet]

    def blocks(self, numbers: list[int]) -> None:
        """Make these blocks, and the whole of all when the other processes have made theirs."""
        trial, blocks, accelerator = self.maker.trial, self.examples.blocks(), self.maker.accelerator
        steps = effort(self.settings) if self.attack.images else 1
        total, mine = steps * len(trial.indices), steps * sum(len(blocks[i]) for i in numbers)
        title, quiet = f"{self.attack.name} on {trial.dataset.info.name}", not accelerator.is_main_process
        unit = "steps" if steps > 1 else "images"  # a step of one image
        self.answer  # noqa: B018  (prompts are attacked before the clock of the blocks runs)
        with progress(title, total=total, unit=unit, done=total - mine, quiet=quiet) as task:
            for number in numbers:
                self._block(number, blocks[number], task)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self.examples.finish(**self._extras())

    def _block(self, number: int, block: range, task: Progress) -> None:
        trial = self.maker.trial
        pixels = load_pixels(trial.dataset, trial.split, trial.indices[block.start : block.stop])
        images = self._images(pixels, block, task)
        with torch.no_grad():
            logits = require_finite(self.answer(images), f"the logits of {self.maker.victim.name}")
            columns = self._columns(block, logits)
        self.examples.write_block(number, columns, (pixels, images.cpu().numpy()) if self.attack.images else None)

    def _images(self, pixels: Any, block: range, task: Progress) -> Tensor:
        """The images of a block as the attack leaves them: made, as another attack made them, or clean."""
        device = self.maker.victim.device
        if self.attack.images:
            return self.attack.images(self._batch(to_unit(pixels, device), block, partial(task.advance, len(block))))
        task.advance(len(block))
        if self.attack.images_of:
            stored = self.needed[self.attack.images_of].images(block.start, block.stop, pixels)
            return torch.from_numpy(stored).to(device)
        return to_unit(pixels, device)

    def _batch(self, images: Tensor, block: range, on_step: Any) -> Batch:
        trial, rows = self.maker.trial, slice(block.start, block.stop)
        return Batch(
            victim=self.maker.victim,
            images=images,
            labels=torch.from_numpy(trial.labels[rows]).to(images.device),
            indices=trial.indices[rows].tolist(),
            settings=self.settings,
            seed=trial.spec.seed,
            logits=self.clean_answer,
            answer=self.answer,
            class_features=self._class_features,
            on_step=on_step,
        )

    def _columns(self, block: range, logits: Tensor) -> dict[str, Any]:
        trial, rows = self.maker.trial, slice(block.start, block.stop)
        after = trial.task.judge(logits, trial.labels[rows])
        baseline = next((self.needed[need] for need in self.attack.needs if attacks.lookup(need).changes_nothing), None)
        before = {name: baseline.columns(name)[rows] for name in after} if baseline else after
        return {"index": trial.indices[rows], "label": trial.labels[rows], **after, **trial.task.compare(before, after)}

    @cached_property
    def settings(self) -> Any:
        return self.maker.trial.spec.settings(self.attack)

    @cached_property
    def adv_texts(self) -> list[str] | None:
        """Every text's adversarial version; None where the attack leaves them clean."""
        if self.attack.prompts_of:
            return self.needed[self.attack.prompts_of].texts("adversarial_prompts")
        if not self.attack.prompts:
            return None
        trial = self.maker.trial
        names = trial.dataset.info.class_names
        return self.attack.prompts(
            Texts(self.maker.victim, trial.texts, names, self.settings, self.maker.mlm, trial.spec.seed)
        )

    @cached_property
    def clean_answer(self) -> Logits:
        return self.maker.trial.task.logits(self.maker.victim, self.maker.trial.texts)

    @cached_property
    def answer(self) -> Logits:
        """What the victim says of images, against the texts as the attack leaves them."""
        if self.adv_texts is None:
            return self.clean_answer
        return self.maker.trial.task.logits(self.maker.victim, self.adv_texts)

    def _class_features(self, attack: str) -> Tensor:
        """The class prompts as an attack that this one needs has left them, embedded: (K, D)."""
        if attack not in self._features:
            texts: Sequence[str] = self.maker.trial.texts
            if attacks.lookup(attack).changes_texts:
                texts = self.needed[attack].texts("adversarial_prompts")
            self._features[attack] = self.maker.victim.embed_texts(texts)
        return self._features[attack]

    @cached_property
    def _features(self) -> dict[str, Tensor]:
        return {}

    def _extras(self) -> dict[str, Any]:
        """What the whole set holds beside its blocks: the texts, and what is to be known of adversarial ones."""
        trial = self.maker.trial
        if self.adv_texts is None:
            return {"texts": {"prompts": trial.texts}}
        texts = {"prompts": trial.texts, "adversarial_prompts": self.adv_texts}
        return {"texts": texts, "notes": trial.task.notes(self.maker.victim, trial.info, self.adv_texts)}
