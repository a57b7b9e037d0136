"""Fine-tuning on clean images: CE(f(x), K class prompts)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .step import Step


def loss(step: Step) -> Tensor:
    """CE(f(x), K class prompts), the mean over the batch."""
    return F.cross_entropy(step.logits(step.images), step.labels)
