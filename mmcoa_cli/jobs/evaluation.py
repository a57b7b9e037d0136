"""Evaluations: one model, one dataset, one attack at a time; each leaves an example set and its rows of the index.

A dataset is cut into fixed blocks, in dataset order. The block is the unit of resume and of sharing between processes,
so an evaluation is bit for bit the same however often it was interrupted and however many processes computed it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
        trial.task.require(victim, trial.drawn)
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
        source = replace(self, trial=self.trial.source) if self.trial.source else None
        with examples.lock() if first else nullcontext():
            # the first process looks for all: another run may finish this very set at any moment
            found = examples.missing() if first and not examples.complete else None
            (missing,) = broadcast_object_list([found])
            if missing is not None:
                attack = attacks.lookup(name)
                needs = [other for other in attack.needs if not source or attacks.lookup(other).changes_nothing]
                needed = {other: self.examples(other) for other in needs}
                shown = source.examples(name) if source and attack.images else None
                own = missing[self.accelerator.process_index :: self.accelerator.num_processes]
                Making(self, attack, examples, needed, shown).blocks(own)
            elif first:
                examples.finish()  # removes the parts of a set whose run was killed when it was whole
            self.accelerator.wait_for_everyone()
        return examples


@dataclass(frozen=True)
class Making:
    """One example set in the making; `needed` are those of the attacks that it needs, `shown` has the images of a task
    that looks at another one's."""

    maker: Maker
    attack: Attack
    examples: ExampleSet
    needed: dict[str, ExampleSet]
    shown: ExampleSet | None = None

    @property
    def makes_images(self) -> bool:
        return bool(self.attack.images) and self.shown is None

    def blocks(self, numbers: list[int]) -> None:
        """Make these blocks, and the whole of all when the other processes have made theirs."""
        trial, blocks, accelerator = self.maker.trial, self.examples.blocks(), self.maker.accelerator
        steps = effort(self.settings) if self.makes_images else 1
        total, mine = steps * len(trial.indices), steps * sum(len(blocks[i]) for i in numbers)
        title, quiet = f"{self.attack.name} on {trial.dataset.info.name}", not accelerator.is_main_process
        unit = "steps" if steps > 1 else "images"  # a step of one image
        if trial.task.texts_first:
            self.adv_texts  # noqa: B018  (prompts are attacked before the clock of the blocks runs)
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
            columns = self._columns(block, images)
        self.examples.write_block(number, columns, (pixels, images.cpu().numpy()) if self.makes_images else None)

    def _images(self, pixels: Any, block: range, task: Progress) -> Tensor:
        """The images of a block as the attack leaves them: made, as another attack made them, or clean."""
        device = self.maker.victim.device
        if self.attack.images and self.makes_images:
            return self.attack.images(self._batch(to_unit(pixels, device), block, partial(task.advance, len(block))))
        task.advance(len(block))
        stored = self.needed[self.attack.images_of] if self.attack.images_of else self.shown
        if stored:
            return torch.from_numpy(stored.images(block.start, block.stop, pixels)).to(device)
        return to_unit(pixels, device)

    def _batch(self, images: Tensor, block: range, on_step: Any) -> Batch:
        trial, rows, victim = self.maker.trial, slice(block.start, block.stop), self.maker.victim
        labels = torch.from_numpy(trial.own[rows]).to(images.device)
        own_rows, own_texts = self._own_texts(block, labels)
        return Batch(
            victim=victim,
            images=images,
            labels=labels,
            indices=trial.indices[rows].tolist(),
            settings=self.settings,
            seed=trial.spec.seed,
            logits=lambda x: self.clean_answer(x),
            answer=lambda x: self.answer(x),
            loss=lambda: trial.task.loss(
                victim, images, labels, clean=lambda: self.clean_answer, settings=self.settings
            ),
            class_features=self._class_features,
            own_rows=own_rows,
            own_texts=own_texts,
            on_step=on_step,
        )

    def _own_texts(self, block: range, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Each text that belongs to an image of the block: the row of that, and the text's number."""
        if self.owners is None:
            return torch.arange(len(labels), device=labels.device), labels
        numbers = ((self.owners >= block.start) & (self.owners < block.stop)).nonzero()[:, 0]
        return self.owners[numbers] - block.start, numbers

    def _columns(self, block: range, images: Tensor) -> dict[str, Any]:
        trial, rows = self.maker.trial, slice(block.start, block.stop)
        after = trial.task.judge(self.maker.victim, images, trial.own[rows], answer=lambda: self.answer)
        before = after
        if self.baseline:
            # an older version stored fewer columns
            before = {name: self.baseline.columns(name)[rows] for name in after if self.baseline.holds(name)}
        return {"index": trial.indices[rows], "label": trial.labels[rows], **after, **trial.task.compare(before, after)}

    @cached_property
    def baseline(self) -> ExampleSet | None:
        """The clean examples, where they are not these."""
        clean = (self.needed[need] for need in self.attack.needs if attacks.lookup(need).changes_nothing)
        return next(clean, None)

    @cached_property
    def settings(self) -> Any:
        return self.maker.trial.settings(self.attack)

    @cached_property
    def adv_texts(self) -> list[str] | None:
        """Every text's adversarial version; None where the attack leaves them clean, or none is looked at."""
        if self.shown:
            return None
        if self.attack.prompts_of:
            return self.needed[self.attack.prompts_of].texts("adversarial_prompts")
        if not self.attack.prompts:
            return None
        trial = self.maker.trial
        texts = Texts(
            victim=self.maker.victim,
            prompts=trial.texts,
            names=trial.dataset.info.class_names,
            settings=self.settings,
            mlm=self.maker.mlm,
            seed=trial.spec.seed,
            owners=self.owners,
            image_features=self._image_features,
        )
        return self.attack.prompts(texts)

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

    def _image_features(self, attack: str) -> Tensor:
        """The embeddings of all images as this attack, once all blocks are made, or one that it needs has left them."""
        made = self.needed[attack].columns if attack in self.needed else self.examples.made
        return torch.from_numpy(made("embedding")).to(self.maker.victim.device)

    @cached_property
    def owners(self) -> Tensor | None:
        """The image that each text belongs to; None for texts of classes."""
        found = self.maker.trial.task.owners(self.maker.trial.drawn)
        return None if found is None else torch.from_numpy(found).to(self.maker.victim.device)

    def _extras(self) -> dict[str, Any]:
        """What the whole set holds beside its blocks: the texts, what is to be known of them, and what is known of all
        samples together."""
        trial, victim, changed = self.maker.trial, self.maker.victim, self.adv_texts
        before = self.baseline.values if self.baseline else None
        texts = {"prompts": trial.texts} | ({} if changed is None else {"adversarial_prompts": changed})
        return {
            "texts": texts,
            "notes": trial.task.notes(victim, trial.drawn, trial.texts, changed),
            "arrays": trial.task.arrays(
                victim, trial.drawn, changed or trial.texts, column=self.examples.made, before=before
            ),
        }
