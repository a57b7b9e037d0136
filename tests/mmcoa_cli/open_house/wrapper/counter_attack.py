"""A defence of another package, at test time: an image is moved away from its own embedding before it is classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmcoa_cli import catalog
from mmcoa_cli.catalog import MethodRow
from mmcoa_cli.models.victim import Victim
from mmcoa_cli.models.wrappers import WRAPPERS, WrapperRow

if TYPE_CHECKING:
    from mmcoa_cli.models.victim import Wrapper


@dataclass(frozen=True)
class Settings:
    reach: float = 0.05
    counter_steps: int = 2


def build(victim: Victim, settings: Any) -> Wrapper:
    """Two steps of sign ascent on |f(x + d) - f(x)|^2 from a fixed start; gradients of an attack pass d by."""
    import torch
    from torch import Tensor

    from mmcoa_cli.models.victim import Wrapper

    class CounterAttack(Wrapper):
        def seen(self, images: Tensor) -> Tensor:
            x, reach, steps = images.detach(), self.settings.reach, self.settings.counter_steps
            with torch.enable_grad():
                features = self.inner.encode_images(x).detach()
                d = torch.full_like(x, reach / 2)
                for _ in range(steps):
                    d.requires_grad_()
                    distance = (self.inner.encode_images(x + d) - features).square().sum()
                    (gradient,) = torch.autograd.grad(distance, d)
                    d = (d.detach() + reach * gradient.sign()).clamp(-reach, reach)
            return (images + d).clamp(0, 1)

    return CounterAttack(victim, settings)


WRAPPERS["counter-attack"] = WrapperRow("counter-attack", build, "a counter-attack at test time", settings=Settings)
catalog.methods()["counter"] = MethodRow("counter", title="a counter-attack at test time", wrapper="counter-attack")
