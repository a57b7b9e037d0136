"""A defence at test time: the image is moved away from where it is, before it is classified. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcoa_cli.models.victim import Victim, Wrapper
from mmcoa_cli.models.wrappers import WrapperRow


@dataclass(frozen=True)
class CounterSettings:
    """`strength` is the length of the step, in pixels of [0, 1]."""

    strength: float = 4 / 255


class Counter(Wrapper):
    """x + strength sign(grad |f(x + xi) - f(x)|): a step of a counter-attack, whose own gradient is not followed."""

    def seen(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            moved = (images.detach() + 1e-3).requires_grad_()
            away = (self.inner.encode_images(moved) - self.inner.encode_images(images.detach())).square().sum()
            (gradient,) = torch.autograd.grad(away, moved)
        return (images + self.settings.strength * gradient.sign()).clamp(0, 1)


def build(inner: Victim, settings: Any) -> Wrapper:
    return Counter(inner, settings)


COUNTER = WrapperRow("counter", build, settings=CounterSettings)
ROW = """
[method.ttc]
title = "a counter-attack at test time (Xing et al., 2025)"
wrapper = "counter"
"""
