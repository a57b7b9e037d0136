"""One example set in the making, a block at a time: of a trial of the store, or of images in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from store.examples import ExampleSet

from .. import attacks
from ..attacks import Attack
from ..attacks.base import Batch, Texts, effort
from ..models.precision import computing_in
from ..tasks.base import Logits
from ..terminal.console import Task as Progress
from .out_of_memory import Pieces
from .refilling import refilled
from .trials import Trial

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim
    from ..tasks.base import Columns
    from .in_memory import ExamplesInMemory, TrialInMemory

ADVERSARIAL = "adversarial_prompts"


@dataclass(frozen=True)
class Made:
    """A block of a set: its columns, and the images (b, 3, S, S) where the attack makes any."""

    rows: range
    columns: Columns
    images: npt.NDArray[np.float32] | None = None

    def of(self, rows: range, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Those of some samples of the block."""
        return values[rows.start - self.rows.start :][: len(rows)]


@dataclass(frozen=True)
class Finished:
    """A set that is whole, of which another attack needs something: the same of it as of one in the making."""

    examples: ExampleSet

    def texts(self) -> list[str]:
        return self.examples.texts(ADVERSARIAL)

    def column(self, name: str, rows: range) -> npt.NDArray[Any] | None:
        return self.examples.columns(name)[rows.start : rows.stop] if self.examples.holds(name) else None

    def images(self, rows: range, clean: Any) -> npt.NDArray[np.float32]:
        return self.examples.images(rows.start, rows.stop, clean)


@dataclass(eq=False)
class Making:
    """One example set in the making; `needed` are those of the attacks that it needs, `shown` has the images of a task
    that looks at another one's. The block that it made last is in memory, and others may take from it."""

    trial: Trial | TrialInMemory
    victim: Victim
    mlm: AnyMaskedLM | None
    attack: Attack
    examples: ExampleSet | ExamplesInMemory
    needed: Mapping[str, Making | Finished]
    shown: ExampleSet | None = None
    micro_batch: int | None = None  # images in memory at once, at most
    todo: tuple[int, ...] = ()  # the blocks that this process makes, in their order
    _last: Made | None = None
    _together: Iterator[Tensor] | None = None  # the images of all of `todo`, of an attack that takes several at once
    _features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def makes_images(self) -> bool:
        return bool(self.attack.images) and self.shown is None

    @property
    def steps(self) -> int:
        """Of each image, at most."""
        return effort(self.settings) if self.makes_images else 1

    def prepare(self) -> None:
        """Attack the texts, where that comes before the images."""
        if self.trial.task.texts_first:
            self.adv_texts  # noqa: B018

    def block(self, number: int, pixels: Any, task: Progress) -> Made:
        """What a block is, of these pixels; it is not written."""
        blocks = self.examples.blocks()
        if self._together is None:
            self._together = refilled(self, [blocks[one] for one in self.todo], told=task.advance)
        block, images = blocks[number], next(self._together, None)

        def piece(rows: range) -> tuple[Any, dict[str, Any]]:
            some = slice(rows.start - block.start, rows.stop - block.start)
            return self._piece(pixels[some], rows, task, None if images is None else images[some])

        pieces = self.pieces.of(block, piece)
        columns = {name: np.concatenate([columns[name] for _, columns in pieces]) for name in pieces[0][1]}
        adv_images = np.concatenate([images for images, _ in pieces]) if self.makes_images else None
        self._last = Made(block, columns, adv_images)
        return self._last

    def texts(self) -> list[str]:
        """Those that the attack made."""
        return self.adv_texts or []

    def column(self, name: str, rows: range) -> npt.NDArray[Any] | None:
        """That of some samples, which all are of one block; None where an older version stored none."""
        made = self._block_of(rows)
        return made.of(rows, made.columns[name]) if name in made.columns else None

    def images(self, rows: range, clean: Any) -> npt.NDArray[np.float32]:
        """Those of such samples, by their clean ones."""
        made = self._block_of(rows)
        if made.images is not None:
            return made.of(rows, made.images)
        return self.examples.block_images(self._number_of(rows), rows.start, rows.stop, clean)

    def _block_of(self, rows: range) -> Made:
        """The block that was made last, which is in memory, or one that an earlier run made, which is read."""
        if self._last is None or rows.start not in self._last.rows:
            number = self._number_of(rows)
            self._last = Made(self.examples.blocks()[number], self.examples.block_columns(number))
        return self._last

    def _number_of(self, rows: range) -> int:
        return rows.start // len(self.examples.blocks()[0])

    def finish(self) -> None:
        """The set is whole: all its blocks are made, and what it needs is finished. It gets its texts, what is to be
        known of them, and what is known of all samples together."""
        trial, victim, changed, made = self.trial, self.victim, self.adv_texts, self.examples.made
        before = self.baseline.examples.values if self.baseline else None
        texts = {"prompts": trial.texts} | ({} if changed is None else {ADVERSARIAL: changed})
        with computing_in(victim, "fp32"):
            notes = trial.task.notes(victim, trial.drawn, trial.texts, changed)
            arrays = trial.task.arrays(victim, trial.drawn, changed or trial.texts, column=made, before=before)
            self.examples.finish(texts=texts, notes=notes, arrays=arrays)

    def _piece(self, pixels: Any, rows: range, task: Progress, made: Tensor | None) -> tuple[Any, dict[str, Any]]:
        """Some images of a block as the attack leaves them, where it makes any, and what came out for each."""
        done = task.done
        try:
            images = self._images(pixels, rows, task) if made is None else made
            with torch.no_grad(), computing_in(self.victim, "fp32"):
                columns = self._columns(rows, images)
        except Exception:
            task.reach(done)  # they are done again
            raise
        return images.cpu().numpy() if self.makes_images else None, columns

    def _images(self, pixels: Any, block: range, task: Progress) -> Tensor:
        """The images of a block as the attack leaves them: made, as another attack made them, or clean."""
        device = self.victim.device
        if self.attack.images and self.makes_images:
            clean = self.trial.as_attacked(pixels, device)
            return self.attack.images(self.batch(clean, block, partial(task.advance, len(block))))
        task.advance(len(block))
        if self.attack.images_of:
            return torch.from_numpy(self.needed[self.attack.images_of].images(block, pixels)).to(device)
        if self.shown:
            return torch.from_numpy(self.shown.images(block.start, block.stop, pixels)).to(device)
        return self.trial.as_attacked(pixels, device)

    def batch(self, images: Tensor, block: range, on_step: Any) -> Batch:
        """Clean images of these rows, (b, 3, S, S), as the attack takes them."""
        trial, rows, victim = self.trial, slice(block.start, block.stop), self.victim
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
            goal=lambda: trial.task.goal(
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
        trial, rows = self.trial, slice(block.start, block.stop)
        after = trial.task.judge(self.victim, images, trial.own[rows], answer=lambda: self.answer)
        before = after
        if self.baseline:
            stored = {name: self.baseline.column(name, block) for name in after}
            before = {name: values for name, values in stored.items() if values is not None}
        return {"index": trial.indices[rows], "label": trial.labels[rows], **after, **trial.task.compare(before, after)}

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces(f"{self.attack.name} on {self.trial.name}", self.micro_batch)

    @cached_property
    def baseline(self) -> Making | Finished | None:
        """The clean examples, where they are not these."""
        clean = (self.needed[need] for need in self.attack.needs if attacks.lookup(need).changes_nothing)
        return next(clean, None)

    @cached_property
    def settings(self) -> Any:
        return self.trial.settings(self.attack)

    @cached_property
    def adv_texts(self) -> list[str] | None:
        """Every text's adversarial version; None where the attack leaves them clean, or none is looked at."""
        if self.shown:
            return None
        if self.attack.prompts_of:
            return self.needed[self.attack.prompts_of].texts()
        if not self.attack.prompts:
            return None
        trial = self.trial
        texts = Texts(
            victim=self.victim,
            prompts=trial.texts,
            names=trial.drawn.dataset.info.class_names,
            settings=self.settings,
            mlm=self.mlm,
            seed=trial.spec.seed,
            owners=self.owners,
            image_features=self._image_features,
        )
        with computing_in(self.victim, trial.spec.precision):  # also where they are first asked for by what judges
            return self.attack.prompts(texts)

    @cached_property
    def clean_answer(self) -> Logits:
        with computing_in(self.victim, "fp32"):  # the texts: once, and the same for the attack and for what judges it
            return self.trial.task.logits(self.victim, self.trial.texts)

    @cached_property
    def answer(self) -> Logits:
        """What the victim says of images, against the texts as the attack leaves them."""
        if self.adv_texts is None:
            return self.clean_answer
        with computing_in(self.victim, "fp32"):
            return self.trial.task.logits(self.victim, self.adv_texts)

    def _class_features(self, attack: str) -> Tensor:
        """The class prompts as an attack that this one needs has left them, embedded: (K, D)."""
        if attack not in self._features:
            texts: Sequence[str] = self.trial.texts
            if attacks.lookup(attack).changes_texts:
                texts = self.needed[attack].texts()
            self._features[attack] = self.victim.embed_texts(texts)
        return self._features[attack]

    def _image_features(self, attack: str) -> Tensor:
        """The embeddings of all images as this attack, once all blocks are made, or one that it needs has left them."""
        made = self.needed[attack].examples.columns if attack in self.needed else self.examples.made
        return torch.from_numpy(made("embedding")).to(self.victim.device)

    @cached_property
    def owners(self) -> Tensor | None:
        """The image that each text belongs to; None for texts of classes."""
        found = self.trial.task.owners(self.trial.drawn)
        return None if found is None else torch.from_numpy(found).to(self.victim.device)
