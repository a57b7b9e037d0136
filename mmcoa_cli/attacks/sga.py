"""`sga`: images and captions attacked as sets (Lu et al., 2023), in three stages.

1. `sga-text`: every caption is turned away from its own image. 2. An image is turned away from all captions that the
first stage wrote for it, at several scales at once. 3. The original captions are turned away from that image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from store.errors import UserError

from .base import Attack, Batch, Texts
from .compat import of_text
from .settings import AscentSettings, BertAttackSettings

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 2**32  # of the generator's epochs: the noise of a step is not of the numbers that the start is of
MOST_SCALES, LARGEST = 16, 8.0


@dataclass(frozen=True)
class SgaSettings(AscentSettings):
    """The ascent's, and the third stage's, which are those of the first. `scales` are of an image's side: at 1 it is
    seen as it is, at others with noise of this standard deviation, scaled and scaled back by bicubic interpolation,
    with or without antialiasing (torchvision has it since 0.17)."""

    published: ClassVar[Fraction] = Fraction(5, 2)  # 0.5/255, of 10 steps in a ball of 2/255
    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5)
    noise: float = 0.05
    antialias: bool = True
    max_candidates: int = 10
    min_score: float = 0.3
    max_words_changed: int = 1
    compat: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scales", tuple(map(float, self.scales)))
        object.__setattr__(self, "noise", float(self.noise))
        object.__setattr__(self, "compat", of_text(self.compat))
        if not 0 < len(self.scales) <= MOST_SCALES or not all(0 < scale <= LARGEST for scale in self.scales):
            raise UserError(f"-o scales={','.join(map(str, self.scales))} is out of range", hint="-o scales=0.5,1,1.5")
        if not 0 <= self.noise <= 1:
            raise UserError(f"-o noise={self.noise:g} is out of range", hint="-o noise=0.05")
        self.of_texts()

    def of_texts(self) -> BertAttackSettings:
        """Those of the third stage."""
        return BertAttackSettings(
            **{f.name: getattr(self, f.name) for f in fields(BertAttackSettings) if hasattr(self, f.name)}
        )

    def in_words(self) -> str:
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        resize = "bicubic with antialiasing" if self.antialias else "bicubic"
        return f"{super().in_words()}, scales {scales} ({resize}), noise {self.noise:g}, {self.of_texts().in_words()}"


def first_captions(texts: Texts) -> list[str]:
    """t' = argmin <g(t'), f(x)> over the candidates of a masked LM, x the clean image of the caption."""
    return _away_from_images(texts, texts.settings, of="clean")


def last_captions(texts: Texts) -> list[str]:
    """The same on the original captions, x the adversarial image."""
    return _away_from_images(texts, texts.settings.of_texts(), of="sga")


def _away_from_images(texts: Texts, settings: BertAttackSettings, *, of: str) -> list[str]:
    from .bert_attack import attack_texts

    if texts.image_features is None or texts.owners is None:
        raise ValueError("sga attacks captions of images")
    return attack_texts(texts, settings, away_from=texts.image_features(of)[texts.owners])


def adv_images(batch: Batch) -> Tensor:
    """Ascends -sum_s sum_i <f(x'_s), g(t'_i)>, t'_i the captions that the first stage wrote for the image and x'_s the
    image at scale s, from U(-eps, eps): (B, 3, S, S)."""
    from .pgd import ascend

    if batch.own_rows is None or batch.own_texts is None:
        raise ValueError("sga attacks images with captions")
    captions = batch.class_features("sga-text")[batch.own_texts]
    towards = captions.new_zeros(len(batch.images), captions.shape[1]).index_add(0, batch.own_rows, captions)
    views = scaled_views(batch)

    def loss(x: Tensor) -> Tensor:
        similarity = x.new_zeros(len(x))
        for view in views(x):
            similarity = similarity + (batch.victim.encode_images(view) * towards).sum(dim=1)
        return -similarity

    return ascend(loss, batch.images, batch.settings, start=batch.start(), on_step=batch.on_step)


def scaled_views(batch: Batch) -> Callable[[Tensor], list[Tensor]]:
    """What `adv_images` sees of images at each step: at scale 1 the image itself, at others the image with noise,
    scaled, brought into [0, 1] and scaled back. The noise of a step is that of (seed, image, step)."""
    import numpy as np
    import torch

    from ..randomness import keyed

    settings, side, steps = batch.settings, batch.images.shape[-1], count()
    scaled = [scale for scale in settings.scales if scale != 1]
    matrices = [_there_and_back(side, scale, batch.images, antialias=settings.antialias) for scale in scaled]

    def views(x: Tensor) -> list[Tensor]:
        """Those of the next step."""
        step, shape = next(steps), (len(scaled), *x.shape[1:])
        drawn = [
            keyed(batch.seed, i, epoch=NOISE + step).standard_normal(shape, dtype=np.float32) for i in batch.indices
        ]
        noise = torch.from_numpy(np.stack(drawn, axis=1)).to(x) * settings.noise
        found = [x] * settings.scales.count(1.0)
        for own, (there, back) in zip(noise, matrices, strict=True):
            small = (there @ (x + own) @ there.T).clamp(0, 1)
            found.append(back @ small @ back.T)
        return found

    return views


def _there_and_back(side: int, scale: float, like: Tensor, *, antialias: bool) -> tuple[Tensor, Tensor]:
    """A bicubic resize to int(scale * side) pixels and that back, as matrices: their gradient adds in a fixed order."""
    import torch
    from torch.nn.functional import interpolate

    other = max(1, int(scale * side))

    def matrix(old: int, new: int) -> Tensor:
        unit = torch.eye(old, device=like.device)[None, None]
        return interpolate(unit, (new, old), mode="bicubic", align_corners=False, antialias=antialias)[0, 0].to(like)

    return matrix(side, other), matrix(other, side)


SGA_TEXT = Attack(
    "sga-text",
    title="BERT-Attack on captions, away from their own images: the first stage of sga",
    source="Lu et al., 2023, arXiv 2307.14061",
    settings=BertAttackSettings,
    needs=("clean",),
    prompts=first_captions,
    masked_lm=True,
    on="captions",
)

SGA = Attack(
    "sga",
    title="set-level guidance: images away from all their adversarial captions at several scales, captions from those",
    source="Lu et al., 2023, arXiv 2307.14061",
    settings=SgaSettings,
    version=2,
    needs=("clean", "sga-text"),
    images=adv_images,
    prompts=last_captions,
    seeded=True,
    masked_lm=True,
    on="captions",
)
