"""An attack of another package: it moves an image away from itself and from its class's adversarial prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmcoa_cli import attacks
from mmcoa_cli.attacks.base import Attack, Batch
from mmcoa_cli.attacks.settings import AscentSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Settings(AscentSettings):
    text_weight: float = 1.0


def images(batch: Batch) -> Tensor:
    """Ascends -cos(f(x'), f(x)) - text_weight cos(f(x'), g(t')), t' the adversarial prompt of the image's own class."""
    from mmcoa_cli.attacks.pgd import ascend

    clean = batch.victim.encode_images(batch.images).detach()
    adv_text = batch.class_features("text")[batch.labels]

    def loss(x: Tensor) -> Tensor:
        features = batch.victim.encode_images(x)
        return -(features * (clean + batch.settings.text_weight * adv_text)).sum(dim=1)

    return ascend(loss, batch.images, batch.settings, start=batch.start(), on_step=batch.on_step)


attacks.register(
    Attack("both-encoders", "away from image and prompt", "made for a test", Settings, needs=("clean", "text"),
           images=images, prompts_of="text", seeded=True)
)  # fmt: skip
