"""What losses are made of. I: image embeddings, T: text embeddings, all of unit length.

A dash as in L(I-T) reads "between". `tau` is exp(logit_scale), the factor that open_clip multiplies cosines by.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(image_features: Tensor, text_features: Tensor, *, tau: Tensor) -> Tensor:
    """L(I-T): image i belongs to text i, both directions added: (B, D), (B, D) -> scalar (the paper's Eq. 7-8).

    Two images of one class are negatives of each other's prompt, as the paper writes it and the release computes it.
    """
    logits = tau * image_features @ text_features.T
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)


def kl(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p || q), the mean over the batch, of p = softmax(logits) and q = softmax(others): (B, K), (B, K) -> scalar."""
    return F.kl_div(others.log_softmax(dim=1), logits.log_softmax(dim=1), reduction="batchmean", log_target=True)
