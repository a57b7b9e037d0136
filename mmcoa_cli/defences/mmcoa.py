"""MMCoA: images contrasted with attacked prompts, and attacked images with prompts (arXiv 2404.19287, Eq. 7-9)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .losses import contrastive
from .settings import MmcoaSettings
from .step import Step


def loss(step: Step) -> Tensor:
    """gamma1 L(I'-T) + gamma2 L(I-T').

    L pairs the B images with the B prompts of their labels; with `contrast="class"` it is the cross-entropy against all
    K prompts instead, which makes no negatives of images that share a label.
    """
    settings: MmcoaSettings = step.settings
    by_class = settings.contrast == "class"
    classes, own = _all(step) if by_class else _present(step)
    prompts = [step.class_prompts[k] for k in classes]
    x, x_adv, t_adv = step.images, step.adv_images(), step.adv_prompts(classes)
    (adv_images, images), texts, tau = step.encode([x_adv, x], prompts + t_adv)
    clean_texts, adv_texts = texts.split(len(classes))

    def contrast(image_features: Tensor, text_features: Tensor) -> Tensor:
        if by_class:
            return F.cross_entropy(tau * image_features @ text_features.T, own)
        return contrastive(image_features, text_features[own], tau=tau)

    attacked_images, attacked_texts = contrast(adv_images, clean_texts), contrast(images, adv_texts)
    return settings.image_weight * attacked_images + settings.text_weight * attacked_texts


def _all(step: Step) -> tuple[list[int], Tensor]:
    return list(range(len(step.class_prompts))), step.labels


def _present(step: Step) -> tuple[list[int], Tensor]:
    """The classes that are in the batch, each once, and where each image's own is among them, (B,)."""
    classes, own = step.labels.unique(return_inverse=True)
    return classes.tolist(), own
