"""Other libraries' PGD in L-inf, where they are installed, as their documentation uses it: on a module that gives
logits. It knows the class prompts' embeddings, which a user of these libraries would compute once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attacks.radii import radius
from ..attacks.settings import PgdSettings
from .release import Release

Pgd = Callable[[nn.Module, Tensor, Tensor, PgdSettings], Callable[[], Tensor]]
INSTALL = "pip install 'mmcoa[peers]'"


class Module(nn.Module):
    """Pixels -> logits against class prompts, by open_clip's own model, with all of its weights as they come."""

    class_features: Tensor

    def __init__(self, release: Release, prompts: Sequence[str]) -> None:
        super().__init__()
        self.model, self.release = release.model, release
        with torch.no_grad():
            self.register_buffer("class_features", release.embed(prompts))

    def forward(self, images: Tensor) -> Tensor:
        there = images.shape[-1] == self.release.side
        inputs = self.release.normalized(images) if there else self.release.inputs(images)
        features = F.normalize(self.model.encode_image(inputs), dim=-1)
        logits: Tensor = self.model.logit_scale.exp() * features @ self.class_features.T
        return logits


@dataclass(frozen=True)
class Peer:
    """A library: the distribution that has it, what to type for it, and its attack, made ready to be run."""

    distribution: str
    install: str
    ready: Pgd

    @property
    def version(self) -> str:
        """Empty where it is not installed."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return ""


def _torchattacks(model: nn.Module, images: Tensor, labels: Tensor, settings: PgdSettings) -> Callable[[], Tensor]:
    torchattacks: Any = import_module("torchattacks")

    attack = torchattacks.PGD(
        model, eps=radius(settings.eps), alpha=settings.step_size, steps=settings.steps,
        random_start=settings.random_start,
    )  # fmt: skip
    return lambda: attack(images, labels)


def _foolbox(model: nn.Module, images: Tensor, labels: Tensor, settings: PgdSettings) -> Callable[[], Tensor]:
    foolbox: Any = import_module("foolbox")

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(
        abs_stepsize=settings.step_size, steps=settings.steps, random_start=settings.random_start
    )
    return lambda: attack.run(wrapped, images, labels, epsilon=radius(settings.eps))


def _art(model: nn.Module, images: Tensor, labels: Tensor, settings: PgdSettings) -> Callable[[], Tensor]:
    attacks, classification = (
        import_module(f"art.{name}") for name in ("attacks.evasion", "estimators.classification")
    )
    classifier: Any = classification.PyTorchClassifier(
        model, loss=nn.CrossEntropyLoss(), input_shape=tuple(images.shape[1:]),
        nb_classes=len(model.class_features), clip_values=(0.0, 1.0),  # type: ignore[arg-type]
        device_type="cpu" if images.device.type == "cpu" else "gpu",
    )  # fmt: skip
    classifier.model.eval()
    attack = attacks.ProjectedGradientDescent(
        classifier, norm=np.inf, eps=radius(settings.eps), eps_step=settings.step_size, max_iter=settings.steps,
        num_random_init=int(settings.random_start), batch_size=len(images), verbose=False,
    )  # fmt: skip
    pixels, classes = images.cpu().numpy(), labels.cpu().numpy()
    return lambda: torch.from_numpy(attack.generate(pixels, classes))


PEERS = {
    "torchattacks": Peer("torchattacks", "pip install --no-deps torchattacks", _torchattacks),
    "foolbox": Peer("foolbox", INSTALL, _foolbox),
    "art": Peer("adversarial-robustness-toolbox", INSTALL, _art),
}


def versions() -> dict[str, str]:
    """Of those that are installed."""
    return {name: peer.version for name, peer in PEERS.items() if peer.version}
