"""One training batch as a loss sees it: images and prompts, attacked on demand, and the embeddings of all processes.

Several processes compute one batch: each attacks and encodes its own slice of the images, all encode the same prompts,
and the image embeddings are gathered with their gradients, so that 2 x 64 takes the same step as 1 x 128.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from ..attacks.bert_attack import TextTarget, attack_prompts
from ..attacks.pgd import last, pgd_iterates, random_start
from ..attacks.settings import PgdSettings
from ..models.clip import Clip
from . import losses


@dataclass(frozen=True)
class Step:
    """`images` (b, 3, S, S) in [0, 1] with `indices` are this process's slice; `all_labels` (B,) those of the batch."""

    model: Clip
    encoder: nn.Module  # `model`, wrapped for distributed training where there are several processes
    backward: Callable[[Tensor], None]
    images: Tensor
    indices: list[int]
    labels: Tensor
    all_labels: Tensor
    sizes: list[int]  # the number of images of each process
    class_prompts: list[str]
    image_attack: PgdSettings
    text_target: TextTarget | None
    seed: int
    epoch: int
    contrast: str = "batch"
    compat: str = "none"
    image_weight: float = 0.5
    text_weight: float = 0.5

    def encode(self, image_sets: list[Tensor], prompts: list[str]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Both encoders in one call: for each set of images the embeddings (B, D) of the whole batch, the prompts'
        embeddings, and tau."""
        features, text_features, tau = self.encoder(torch.cat(image_sets), self.model.tokenize(prompts))
        own = features.split([len(images) for images in image_sets])
        return [_gathered(part, self.sizes) for part in own], text_features, tau

    def adv_images(self) -> Tensor:
        """x' by PGD against all K clean class prompts (Eq. 2-3); only delta is differentiated.

        `compat="release"` is the exception the released code makes: its PGD also adds the gradient of every step's
        cross-entropy to the weights' gradients, so that they end in the update.
        """
        start = random_start(self.image_attack, self.images, indices=self.indices, seed=self.seed, epoch=self.epoch)
        text_features, tau = self.model.embed_texts(self.class_prompts), self.model.scale.detach()

        def classify(images: Tensor) -> Tensor:
            return tau * self.model.encode_images(images) @ text_features.T

        trajectory = pgd_iterates(classify, self.images, self.labels, settings=self.image_attack, start=start)
        if self.compat == "release":
            trajectory = self._leaking(trajectory)
        return last(trajectory, self.image_attack)

    def _leaking(self, trajectory: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same iterates; each that a step is taken from leaves its gradient in the weights."""
        before = None
        for adv_images in trajectory:
            if before is not None:
                self._leak(before)
            yield (before := adv_images)

    def _leak(self, adv_images: Tensor) -> None:
        (features,), text_features, tau = self.encode([adv_images], self.class_prompts)
        self.backward(losses.cross_entropy(features, text_features, labels=self.all_labels, tau=tau))

    def classes_to_contrast(self) -> tuple[list[int], Tensor]:
        """The classes whose prompts a contrast needs, each once, and where each image's own is among them (B,)."""
        if self.contrast == "class":
            return list(range(len(self.class_prompts))), self.all_labels
        classes, own = self.all_labels.unique(return_inverse=True)
        return classes.tolist(), own

    def adv_prompts(self, classes: list[int]) -> list[str]:
        """t' of these classes by BERT-Attack (Eq. 4), all together, against the weights of this moment."""
        assert self.text_target is not None
        target = replace(
            self.text_target,
            prompts=[self.text_target.prompts[k] for k in classes],
            candidates=[self.text_target.candidates[k] for k in classes],
        )
        return attack_prompts(self.model.embed_texts, target)


def _gathered(features: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all processes in order, (sum of sizes, D); gradients flow back to the process a row came from."""
    if len(sizes) == 1:
        return features
    padded = torch.cat([features, features.new_zeros(max(sizes) - len(features), features.shape[1])])
    return torch.cat([rows[:size] for rows, size in zip(_Gather.apply(padded), sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """Rows of this process (b, D) -> those of each process. All of them compute one and the same loss from what they
    gather, so the gradients that the others have for these rows are the one that this process has."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        gathered = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(gathered, rows)
        return tuple(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.distributed.get_world_size() * gradients[torch.distributed.get_rank()]
