"""An open_clip model's text encoder: with gradients as open_clip has it, without in less work."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from . import text_tree
from .text_batches import AS_THEY_COME, BATCH, by_length, distinct


def takes_short_texts(model: Any) -> bool:
    """Whether it may be given texts up to their ends alone: with a causal mask, padding changes nothing."""
    causal = isinstance(model, open_clip.CLIP) and model.attn_mask is not None
    return causal and model.text_pool_type == "argmax"


def text_features(model: Any, tokens: Tensor) -> Tensor:
    """Tokens (K, L) -> features (K, D), not of unit length."""
    if not takes_short_texts(model):
        features: Tensor = type(model).encode_text(model, tokens)
        return features
    length = tokens.shape[1]  # instead of the whole context, tested to be equal
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=-1)]
    if model.text_projection is not None:
        x = model.text_projection(x) if isinstance(model.text_projection, nn.Linear) else x @ model.text_projection
    features = x
    return features


@torch.no_grad()
def features_once(model: Any, tokens: Tensor, *, trees: bool) -> Tensor:
    """The same without gradients, of any number of texts in bounded memory: equal rows of tokens are encoded once, and,
    by `trees`, what rows have in common at their beginnings."""
    short = takes_short_texts(model)
    if AS_THEY_COME.get():
        return torch.cat([text_features(model, _cut(some) if short else some) for some in tokens.split(BATCH)])
    tower = text_tree.tower_of(model) if trees else None
    last = torch.full((len(tokens),), tokens.shape[1] - 1)
    rows, which = distinct(tokens, last if tower is None and not short else tokens.argmax(dim=1))
    if tower is not None:
        found = text_tree.encode(tower, rows)
    else:
        found = by_length(rows, lambda some: text_features(model, some.to(tokens.device)))
    return found[torch.from_numpy(which).to(found.device)]


def _cut(tokens: Tensor) -> Tensor:
    """To the longest text."""
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]
