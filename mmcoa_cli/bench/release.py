"""The plain loop: what the paper's released code does (github.com/ElleZWQ/MMCoA), on any open_clip model.

Written from `attacks.py`, `models/model.py`, `attack/bert_attack.py` and the loop of `MMCoA.py`, with what makes it
slow: the text tower runs at every step of PGD, over the whole context; gradients of all weights are computed and, by
`loss.backward()`, kept; an image is resized even where it has its size; each prompt is attacked on its own, and again
for the next image of its class. It knows nothing of mmcoa's own attacks and losses: the tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attacks.words import STOP_WORDS

MOST_TOKENS, BATCH, CANDIDATES, LEAST_SCORE = 30, 32, 10, 0.3


@dataclass(frozen=True)
class Release:
    """A model of open_clip with its tokenizer, the side of its images, and the statistics of their normalisation."""

    model: Any
    tokenizer: Any
    side: int
    mean: Tensor
    std: Tensor

    def tokens(self, texts: Sequence[str]) -> Tensor:
        tokens: Tensor = self.tokenizer(list(texts)).to(self.mean.device)
        return tokens

    def inputs(self, x: Tensor) -> Tensor:
        """`clip_img_preprocessing`."""
        return self.normalized(F.interpolate(x, size=(self.side, self.side), mode="bicubic"))

    def normalized(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def logits(self, x: Tensor, tokens: Tensor) -> Tensor:
        """`multiGPU_CLIP`: of images and texts, both encoded here and now."""
        images, texts = self.model.encode_image(self.inputs(x)), self.model.encode_text(tokens)
        images, texts = images / images.norm(dim=1, keepdim=True), texts / texts.norm(dim=1, keepdim=True)
        logits: Tensor = images @ (self.model.logit_scale.exp() * texts).t()
        return logits

    def embed(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(self.model.encode_text(self.tokens(texts)), dim=-1)


def attack_pgd(
    release: Release, x: Tensor, target: Tensor, tokens: Tensor, *, alpha: float, steps: int, eps: float,
    delta: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """x + delta after PGD in L-inf, from `delta` or from a start of its own."""
    delta = torch.empty_like(x).uniform_(-eps, eps) if delta is None else delta.clone()
    delta = torch.max(torch.min(delta, 1 - x), 0 - x)
    delta.requires_grad = True
    for _ in range(steps):
        loss = F.cross_entropy(release.logits(x + delta, tokens), target)
        loss.backward()
        assert delta.grad is not None
        d = torch.clamp(delta + alpha * torch.sign(delta.grad.detach()), min=-eps, max=eps)
        delta.data = torch.max(torch.min(d, 1 - x), 0 - x).detach()
        delta.grad.zero_()
    return (x + delta).detach()


def tecoa_loss(release: Release, x_adv: Tensor, target: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(release.logits(x_adv, tokens), target)


def mmcoa_loss(release: Release, x: Tensor, x_adv: Tensor, texts: Sequence[str], adv_texts: Sequence[str]) -> Tensor:
    """Images and texts of the same order, one text an image."""
    truth = torch.arange(len(x), device=x.device)
    attacked_images = release.logits(x_adv, release.tokens(texts))
    attacked_texts = release.logits(x, release.tokens(adv_texts))
    of_images = F.cross_entropy(attacked_images, truth) + F.cross_entropy(attacked_images.t(), truth)
    of_texts = F.cross_entropy(attacked_texts, truth) + F.cross_entropy(attacked_texts.t(), truth)
    return 0.5 * of_texts + 0.5 * of_images


class BertAttack:
    """`attack/bert_attack.py`: one text after another. A word's candidates are those for the token before it."""

    def __init__(self, mlm: Any, tokenizer: Any) -> None:
        self.mlm, self.tokenizer = mlm, tokenizer

    @torch.no_grad()
    def attack(self, release: Release, texts: Sequence[str]) -> list[str]:
        scores, predictions = self._logits(self._inputs(texts)).topk(CANDIDATES, -1)
        originals = self._embed(release, texts)
        return [self._of(release, text, originals[i], scores[i], predictions[i]) for i, text in enumerate(texts)]

    def _of(self, release: Release, text: str, original: Tensor, scores: Tensor, predictions: Tensor) -> str:
        words, keys = self._words(text)
        importance = self._importance(release, words, original)
        for place, _ in sorted(enumerate(importance), key=lambda one: one[1], reverse=True):
            start, end = keys[place]
            if words[place] in STOP_WORDS or start > MOST_TOKENS - 2:
                continue
            found = self._substitutes(predictions[start:end], scores[start:end])
            kept = [w for w in found if w != words[place] and "##" not in w and w not in STOP_WORDS]
            choices = [words[place], *kept]
            written = [" ".join([*words[:place], word, *words[place + 1 :]]) for word in choices]
            best = int(_divergence(original, self._embed(release, written)).argmax())
            words[place] = choices[best]
            if best:
                break
        return " ".join(words)

    def _importance(self, release: Release, words: list[str], original: Tensor) -> list[float]:
        masked = [" ".join([*words[:i], "[UNK]", *words[i + 1 :]]) for i in range(len(words))]
        parts = [self._embed(release, masked[i : i + BATCH]) for i in range(0, len(masked), BATCH)]
        importance: list[float] = _divergence(original, torch.cat(parts)).tolist()
        return importance

    def _words(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        words, keys, at = text.split(" "), [], 0
        for word in words:
            pieces = len(self.tokenizer.tokenize(word))
            keys.append((at, at + pieces))
            at += pieces
        return words, keys

    def _substitutes(self, predictions: Tensor, scores: Tensor) -> list[str]:
        names = self.tokenizer.convert_ids_to_tokens
        if len(predictions) == 1:
            return list(names(predictions[0][scores[0] >= LEAST_SCORE].tolist()))
        if len(predictions) == 0:
            return []
        combined: list[list[int]] = [[]]
        for best in predictions[:12, :4].tolist():
            combined = [[*before, one] for before in combined for one in best]
        pieces = torch.tensor(combined[:24], device=predictions.device)
        losses = F.cross_entropy(self._logits({"input_ids": pieces}).flatten(0, 1), pieces.flatten(), reduction="none")
        order = losses.view(pieces.shape).mean(dim=-1).exp().argsort()
        return [self.tokenizer.convert_tokens_to_string(names(row)) for row in pieces[order].tolist()]

    def _embed(self, release: Release, texts: Sequence[str]) -> Tensor:
        """`inference_text`: of what BERT's tokenizer makes of the texts, as strings again."""
        spelled = [
            self.tokenizer.decode(ids, clean_up_tokenization_spaces=True) for ids in self._inputs(texts)["input_ids"]
        ]
        for special in ("[PAD]", "[CLS]", "[SEP]"):
            spelled = [text.replace(special, "") for text in spelled]
        return release.embed([text.strip() for text in spelled])

    def _inputs(self, texts: Sequence[str]) -> Any:
        return self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
        ).to(self.mlm.device)

    def _logits(self, inputs: Any) -> Tensor:
        kept = {name: inputs[name] for name in ("input_ids", "attention_mask") if name in inputs}
        logits: Tensor = self.mlm(**kept).logits
        return logits


def _divergence(original: Tensor, changed: Tensor) -> Tensor:
    target = original.softmax(dim=-1).repeat(len(changed), 1)
    return F.kl_div(changed.log_softmax(dim=-1), target, reduction="none").sum(dim=-1)


def optimizer_of(model: nn.Module, *, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
