"""One training batch as a loss sees it: images and prompts, attacked on demand, and what the models say of them.

Several processes compute one batch: each attacks and encodes its own slice of the images, all encode the same prompts,
and the image embeddings are gathered with their gradients, so that 2 x 64 takes the same step as 1 x 128. What a loss
gets has a row for each image of the whole batch; while an attack runs, for each of the slice. Everything that is
trained is called through the module that Accelerate prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from store.errors import UserError

from ..attacks.bert_attack import TextTarget, attack_prompts
from ..attacks.compat import LEAK, parts
from ..attacks.pgd import ascend, last, pgd, pgd_iterates
from ..attacks.settings import PgdSettings
from ..attacks.starts import random_start
from ..models.victim import Victim
from .batch import Batch, number_of_pieces

Module = Callable[..., Any]  # a victim, or what Accelerate made of one: called as `Victim.forward`
OfflineFeatures = Callable[[Victim, npt.NDArray[np.int64]], Tensor]  # of the original and of training images, (b, D)


class Asked:
    """What a loss can ask of a model, for images that are pixels in [0, 1], (b, 3, S, S)."""

    def __init__(self, module: Module, batch: Batch) -> None:
        self.module, self.batch = module, batch

    def class_features(self) -> Tensor:
        """The unit embeddings of the class prompts, (K, D)."""
        raise NotImplementedError

    def image_features(self, images: Tensor) -> Tensor:
        """The images' features before they are made of unit length, (B, D)."""
        features, _, _ = self.module(images, raw=True)
        return self.batch.whole(features)

    def logits(self, images: Tensor) -> Tensor:
        """tau f(x) g(t): the images against the K class prompts, (B, K)."""
        features, _, tau = self.module(images)
        logits: Tensor = tau * self.batch.whole(features) @ self.class_features().T
        return logits

    def cross_entropy(self, images: Tensor) -> Tensor:
        """CE of each image against the K class prompts, (B,)."""
        return F.cross_entropy(self.logits(images), self.batch.labels, reduction="none")


class Original:
    """The model that a run starts from: loaded when a loss first asks for it, and never trained.

    `attacked` gives its features of training images, by their numbers, under the attack that was run before training.
    """

    def __init__(
        self, load: Callable[[], Victim], class_prompts: list[str], attacked: OfflineFeatures | None = None
    ) -> None:
        self._load, self._prompts, self._attacked = load, class_prompts, attacked

    @cached_property
    def victim(self) -> Victim:
        victim = self._load()
        for weight in victim.parameters():
            weight.requires_grad_(False)
        return victim

    @cached_property
    def class_features(self) -> Tensor:
        return self.victim.embed_texts(self._prompts)

    def adv_features(self, images: npt.NDArray[np.int64]) -> Tensor:
        """Of these training images, as they were attacked before training: raw, (b, D)."""
        if self._attacked is None:
            raise _not_named("offline attack", "offline = NAME")
        return self._attacked(self.victim, images)


class AskedOriginal(Asked):
    """The same of the original, whose class embeddings are computed once a run."""

    def __init__(self, original: Original, batch: Batch) -> None:
        super().__init__(original.victim, batch)
        self._original = original

    def class_features(self) -> Tensor:
        return self._original.class_features

    def adv_features(self) -> Tensor:
        """The features of the batch's images as they were attacked once, before training: raw, (B, D)."""
        assert self.batch.numbers is not None
        return self._original.adv_features(self.batch.numbers)


@dataclass(frozen=True)
class Attacks:
    """What attacks a batch: PGD with these settings, and the masked LM's candidates for the class prompts. None for an
    attack that the method's row does not name."""

    image: PgdSettings | None = None
    text: TextTarget | None = None


class Step(Asked):
    """`images` (b, 3, S, S) in [0, 1] with their numbers `indices` are this process's slice of the batch; `settings`
    are those of the method, `backward` is Accelerate's."""

    def __init__(
        self, victim: Victim, module: Module, batch: Batch, *, images: Callable[[], Tensor], indices: list[int],
        class_prompts: list[str], attacks: Attacks, original: Original, backward: Callable[[Tensor], None],
        seed: int, epoch: int, settings: Any = None, compat: str = "none",
    ) -> None:  # fmt: skip
        super().__init__(module, batch)
        self.victim, self._images, self.indices, self.class_prompts = victim, images, indices, class_prompts
        self.attacks, self._original, self._backward = attacks, original, backward
        self.seed, self.epoch, self.settings, self.compat = seed, epoch, settings, compat
        self.micro_batch: int | None = None  # images that the image attack has in memory at once

    def forget(self) -> None:
        """Hold nothing of what was computed."""
        for name in ("images", "_moving", "_still"):
            self.__dict__.pop(name, None)

    @cached_property
    def images(self) -> Tensor:
        """Read when they are first asked for, (b, 3, S, S)."""
        return self._images()

    @property
    def labels(self) -> Tensor:
        """The label of each image of the whole batch, (B,); while an attack runs, of the slice."""
        return self.batch.labels

    @cached_property
    def original(self) -> AskedOriginal:
        """The model as it was before training."""
        return AskedOriginal(self._original, self.batch)

    def class_features(self) -> Tensor:
        """Encoded once with gradients, and once as they are for all the steps of an attack."""
        return self._still if self.batch.alone else self._moving

    @cached_property
    def _moving(self) -> Tensor:
        features: Tensor = self.module(None, self.victim.tokenize(self.class_prompts))[1]
        return features

    @cached_property
    def _still(self) -> Tensor:
        return self.embed_texts(self.class_prompts)

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> Tensor:
        """The unit embeddings of any number of texts, without gradients, (n, D)."""
        found: Tensor = self.module(None, self.victim.tokenize(texts))[1]
        return found

    def logits_of(self, features: Tensor) -> Tensor:
        """tau n(f) g(t): features of any length, (B, D), against the K class prompts, (B, K)."""
        _, texts, tau = self.module(None, self.victim.tokenize(self.class_prompts))
        logits: Tensor = tau * F.normalize(features, dim=1) @ texts.T
        return logits

    def encode(self, image_sets: list[Tensor], prompts: list[str]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Both encoders in one call: for each set of images the unit embeddings (B, D) of the whole batch, those of the
        prompts, and tau."""
        features, text_features, tau = self.module(torch.cat(image_sets), self.victim.tokenize(prompts))
        own = features.split([len(images) for images in image_sets])
        return [self.batch.whole(part) for part in own], text_features, tau

    def ascend(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """x' by PGD on any loss of this process's images, which is summed over them; only delta is differentiated."""
        return ascend(self._on_slice(loss), self.images, self._pgd, start=self._start())

    def adv_images(self) -> Tensor:
        """x' by PGD on the cross-entropy against all K clean class prompts (Eq. 2-3).

        The part `leak` of `compat` is the exception the released code makes: its PGD also adds the gradient of every
        step's cross-entropy to the weights' gradients, so that they end in the update.
        """
        classify, whole = self._on_slice(self.logits), (self.images, self.batch.own_labels, self._start())
        if LEAK in parts(self.compat):
            images, own, start = whole
            trajectory = pgd_iterates(classify, images, own, settings=self._pgd, start=start)
            return last(self._leaking(trajectory), self._pgd)
        rows = len(self.indices)
        number = number_of_pieces(rows, self.micro_batch, own=rows, largest=max(self.batch.sizes))
        pieces = zip(*(part.tensor_split(number) for part in whole), strict=True)
        return torch.cat([pgd(classify, x, y, settings=self._pgd, start=delta) for x, y, delta in pieces])

    def adv_prompts(self, classes: list[int]) -> list[str]:
        """t' of these classes by BERT-Attack (Eq. 4), all together, against the weights of this moment."""
        target = self.attacks.text
        if target is None:
            raise _not_named("text attack", 'attacks = ["text"]')
        return attack_prompts(self.embed_texts, target.of(classes))

    @property
    def _pgd(self) -> PgdSettings:
        if self.attacks.image is None:
            raise _not_named("image attack", 'attacks = ["image"]')
        return self.attacks.image

    def _start(self) -> Tensor:
        return random_start(self._pgd, self.images, indices=self.indices, seed=self.seed, epoch=self.epoch)

    def _on_slice(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def on_slice(images: Tensor) -> Tensor:
            with self.batch.on_slice(), self.victim.clip.pixels_alone():
                return function(images)

        return on_slice

    def _leaking(self, trajectory: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same iterates; each that a step is taken from leaves its gradient in the weights."""
        before = None
        for adv_images in trajectory:
            if before is not None:
                (features,), text_features, tau = self.encode([before], self.class_prompts)
                self._backward(F.cross_entropy(tau * features @ text_features.T, self.labels))
            yield (before := adv_images)


def _not_named(attack: str, entry: str) -> UserError:
    """Its settings would be missing in the run's identity."""
    return UserError(
        f"the loss uses the {attack}, which its row of the catalog does not name",
        hint=f"{entry} in the row of the method",
    )
