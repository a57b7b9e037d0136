"""One example set in the making, a block at a time: of a trial of the store, or of images that are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .. import attacks
from ..attacks import Attack
from ..attacks.base import Batch, Texts, effort
from ..models.precision import computing_in
from ..tasks.base import Drawn, Logits, Task
from ..terminal.console import Task as Progress
from .evaluation_spec import EvaluationSpec
from .needed import ADVERSARIAL, Examples, Made, Need
from .pieces import Pieces
from .refilled import refilled

if TYPE_CHECKING:
    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim
    from ..tasks.base import Ints


class Tried(Protocol):
    """What is asked of a trial while its examples are made: one of the store, or images that are given."""

    @property
    def name(self) -> str: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def spec(self) -> EvaluationSpec: ...
    @property
    def task(self) -> Task: ...
    @property
    def drawn(self) -> Drawn: ...
    @property
    def indices(self) -> Ints: ...
    @property
    def labels(self) -> Ints: ...
    @property
    def own(self) -> Ints: ...
    @property
    def texts(self) -> list[str]: ...
    def settings(self, attack: Attack) -> Any: ...
    def pixels(self, block: range) -> Any: ...
    def as_attacked(self, pixels: Any, device: torch.device) -> Tensor: ...


@dataclass(frozen=True)
class Making:
    """One example set in the making; `needed` are those of the attacks that it needs, `shown` has the images of a task
    that looks at another one's."""

    trial: Tried
    victim: Victim
    mlm: AnyMaskedLM | None
    attack: Attack
    examples: Examples
    needed: Mapping[str, Need]
    shown: Examples | None = None
    micro_batch: int | None = None  # images in memory at once, at most
    todo: tuple[int, ...] = ()  # the blocks that this process makes, in their order

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
        if not self._refilled:
            self._refilled.append(refilled(self, [blocks[one] for one in self.todo], told=task.advance))
        block, images = blocks[number], next(self._refilled[0], None)

        def piece(rows: range) -> tuple[Any, dict[str, Any]]:
            some = slice(rows.start - block.start, rows.stop - block.start)
            return self._piece(pixels[some], rows, task, None if images is None else images[some])

        made = self.pieces.of(block, piece)
        columns = {name: np.concatenate([columns[name] for _, columns in made]) for name in made[0][1]}
        return Made(block, columns, np.concatenate([images for images, _ in made]) if self.makes_images else None)

    @cached_property
    def _refilled(self) -> list[Iterator[Tensor]]:
        """The images of all blocks that are to be made, when the first is, of an attack that takes several at once."""
        return []

    def finish(self) -> None:
        """The set is whole: all its blocks are made, and what it needs is finished."""
        with computing_in(self.victim, "fp32"):
            self.examples.finish(**self._extras())

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

    @property
    def title(self) -> str:
        return f"{self.attack.name} on {self.trial.name}"

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces(self.title, self.micro_batch)

    @cached_property
    def baseline(self) -> Need | None:
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

    @cached_property
    def _features(self) -> dict[str, Tensor]:
        return {}

    def _image_features(self, attack: str) -> Tensor:
        """The embeddings of all images as this attack, once all blocks are made, or one that it needs has left them."""
        made = self.needed[attack].columns if attack in self.needed else self.examples.made
        return torch.from_numpy(made("embedding")).to(self.victim.device)

    @cached_property
    def owners(self) -> Tensor | None:
        """The image that each text belongs to; None for texts of classes."""
        found = self.trial.task.owners(self.trial.drawn)
        return None if found is None else torch.from_numpy(found).to(self.victim.device)

    def _extras(self) -> dict[str, Any]:
        """What the whole set holds beside its blocks: the texts, what is to be known of them, and what is known of all
        samples together."""
        trial, victim, changed = self.trial, self.victim, self.adv_texts
        before = self.baseline.values if self.baseline else None
        texts = {"prompts": trial.texts} | ({} if changed is None else {ADVERSARIAL: changed})
        return {
            "texts": texts,
            "notes": trial.task.notes(victim, trial.drawn, trial.texts, changed),
            "arrays": trial.task.arrays(
                victim, trial.drawn, changed or trial.texts, column=self.examples.made, before=before
            ),
        }
