"""A learned border around the images (a visual prompt): one file and one row, trained against the image attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcoa_cli.defences.step import Step
from mmcoa_cli.models.victim import Victim, Wrapper
from mmcoa_cli.models.wrappers import WrapperRow


@dataclass(frozen=True)
class BorderSettings:
    """`width` in pixels of the encoder's input."""

    width: int = 1


class Border(Wrapper):
    """phi(x): the image, with delta added on a frame of `width` pixels."""

    def __init__(self, inner: Victim, settings: BorderSettings) -> None:
        super().__init__(inner, settings)
        side = inner.clip.image_size
        self.delta = nn.Parameter(torch.zeros(3, side, side))
        frame = torch.ones(side, side)
        frame[settings.width : -settings.width, settings.width : -settings.width] = 0
        self.register_buffer("frame", frame, persistent=False)

    def seen(self, images: Tensor) -> Tensor:
        side = self.delta.shape[-1]
        images = F.interpolate(images, (side, side), mode="bicubic", antialias=images.shape[-1] > side)
        return (images + self.delta * self.frame).clamp(0, 1)


def build(inner: Victim, settings: Any) -> Wrapper:
    return Border(inner, settings)


BORDER = WrapperRow("border", build, title="a learned border", settings=BorderSettings)
ROW = """
[method.bordered]
title = "a learned border (Chen et al., 2023)"
loss = "bordered"
wrapper = "border"
attacks = ["image"]
trains = "border"
optimizer = { name = "sgd", lr = 0.5 }
"""


def loss(step: Step) -> Tensor:
    """CE(f(phi(x')), K class prompts), x' by PGD through phi."""
    return F.cross_entropy(step.logits(step.adv_images()), step.labels)
