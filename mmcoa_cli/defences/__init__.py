"""The defences: each is a loss over one training batch. `METHODS` maps the `loss` of a catalog row to its function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from . import losses
from .step import Step


def ft_standard(step: Step) -> Tensor:
    """CE(f(x), K class prompts): fine-tuning on clean images."""
    image_features, text_features, tau = step.encode([step.images], step.class_prompts)
    return losses.cross_entropy(image_features[0], text_features, labels=step.all_labels, tau=tau)


def tecoa(step: Step) -> Tensor:
    """CE(f(x'), K class prompts), x' by PGD on the same loss."""
    image_features, text_features, tau = step.encode([step.adv_images()], step.class_prompts)
    return losses.cross_entropy(image_features[0], text_features, labels=step.all_labels, tau=tau)


def mmcoa(step: Step) -> Tensor:
    """gamma1 L(I'-T) + gamma2 L(I-T')  (arXiv 2404.19287, Eq. 7-9).

    L pairs the B images with the B prompts of their labels; with `contrast="class"` it is the cross-entropy against
    all K prompts instead, which makes no negatives of images that share a label.
    """
    classes, own = step.classes_to_contrast()
    prompts = [step.class_prompts[k] for k in classes]
    x, x_adv, t_adv = step.images, step.adv_images(), step.adv_prompts(classes)
    (adv_images, images), texts, tau = step.encode([x_adv, x], prompts + t_adv)
    clean_texts, adv_texts = texts.split(len(classes))

    def contrast(image_features: Tensor, text_features: Tensor) -> Tensor:
        if step.contrast == "class":
            return losses.cross_entropy(image_features, text_features, labels=own, tau=tau)
        return losses.contrastive(image_features, text_features[own], tau=tau)

    return losses.mmcoa(
        contrast(adv_images, clean_texts),
        contrast(images, adv_texts),
        image_weight=step.image_weight,
        text_weight=step.text_weight,
    )


METHODS: dict[str, Callable[[Step], Tensor]] = {"ft_standard": ft_standard, "tecoa": tecoa, "mmcoa": mmcoa}
