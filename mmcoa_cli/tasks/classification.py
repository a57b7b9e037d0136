"""Images to classes: logits against the K class prompts, and what a prediction counts where classes tie.

An attack may give several classes the same prompt. Their logits are equal, and which of them is "the" prediction is an
accident; so a tie among m classes counts 1/m, and an accuracy is what it would be on average over the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..models.finite import require_finite
from ..models.victim import Victim

WRONG_BEFORE, HELD, FOOLED, TIED = 0, 1, 2, 3  # the outcome of one sample; TIED: held by some choices, not by others

Classifier = Callable[[Tensor], Tensor]
Floats = npt.NDArray[np.float64]


def classifier(clip: Victim, prompts: Sequence[str]) -> Classifier:
    """Pixels -> logits against these prompts, whose embeddings are computed once.

    Classes whose prompts are the same tokens share a column of the product, so that they tie exactly rather than up to
    rounding.
    """
    rows = clip.token_rows(prompts)
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    columns = [numbers[row] for row in rows]
    unique = [prompts[columns.index(number)] for number in range(len(numbers))]
    text_features, scale = clip.embed_texts(unique), clip.scale.detach()
    require_finite(text_features, f"the text embeddings of {clip.name}")
    return lambda images: (scale * clip.encode_images(images) @ text_features.T)[:, columns]


def judged(logits: Tensor, labels: Tensor) -> dict[str, npt.NDArray[Any]]:
    """Of logits (B, K) and labels (B,): each sample's `prediction` (of a tie the first class) and its `credit`, 1/m
    where its label is one of the m classes of the greatest logit, else 0."""
    best = logits == logits.amax(dim=1, keepdim=True)
    hit = best.gather(1, labels[:, None])[:, 0]
    credit = hit.cpu().double() / best.sum(dim=1).clamp_min(1).cpu()
    return {"prediction": logits.argmax(dim=1).cpu().numpy(), "credit": credit.numpy()}


def outcomes(before: Floats, after: Floats) -> npt.NDArray[np.uint8]:
    """What became of each sample, from its credit before and under the attack."""
    held = np.where(after >= before, HELD, np.where(after > 0, TIED, FOOLED))
    return np.where(before == 0, WRONG_BEFORE, held).astype(np.uint8)


def success_rate(before: Floats, after: Floats) -> float | None:
    """The share of the correctly classified samples that the attack turns, on average over ties; None without any."""
    correct = math.fsum(before)
    return math.fsum(before * (1 - after)) / correct if correct else None


def distinct(clip: Victim, prompts: Sequence[str]) -> int:
    """How many different prompts these are to the model."""
    return len(set(clip.token_rows(prompts)))
