"""AdvPT (Zhang et al., 2024, "Adversarial prompt tuning for vision-language models"): context vectors that bring the
class prompts to where attacked images are.

The images are attacked once, before training, in the frozen image encoder alone; no prompt takes part in that.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .step import Step


def loss(step: Step) -> Tensor:
    """CE(tau n(f(x')) . n(g(prompt)), y): only g's context vectors move."""
    return F.cross_entropy(step.logits_of(step.original.adv_features()), step.labels)
