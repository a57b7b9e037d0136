"""design.md's example of a defence, as it stands there: one file and one row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.defences.losses import kl
from mmcoa_cli.defences.step import Step

ROW = """
[method.pmg-aft]
title = "pre-trained model guided adversarial fine-tuning (Wang et al., 2024)"
loss = "pmg_aft"
attacks = ["image"]
trains = "image"
optimizer = { name = "sgd", lr = 5e-5, momentum = 0.9, schedule = "cosine" }
"""


def loss(step: Step) -> Tensor:
    """CE(z_a, y) + KL(p_orig(x_a) || p(x_a)) + KL(p(x) || p(x_a))."""
    x_adv = step.ascend(step.cross_entropy)
    adv, clean = step.logits(x_adv), step.logits(step.images)
    return F.cross_entropy(adv, step.labels) + kl(step.original.logits(x_adv), adv) + kl(clean, adv)
