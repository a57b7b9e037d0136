"""TeCoA (Mao et al., 2023, "Understanding zero-shot adversarial robustness for large-scale models", Eq. 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .step import Step


def loss(step: Step) -> Tensor:
    """CE(f(x'), K class prompts), x' by PGD on the same loss."""
    return F.cross_entropy(step.logits(step.adv_images()), step.labels)
