"""An open_clip model's text encoder, of rows of tokens: with gradients as open_clip has it, without in less work.

What texts have in common up to some token is computed once, in trees of tokens, where the encoder is causal: a token
sees none behind it, so its keys and values are the same in all texts that begin alike: candidates of one word, and
"This is a photo of a" in every class prompt. Rows of tokens, sorted, are cut into trees of at most NODES tokens. Each
tree is one sequence in which a token sees its own beginning and nothing of the other branches; what a BLOCK of it sees
is the block and the beginning of its first token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn

Ints = npt.NDArray[np.int64]

BATCH = 512
BEHIND = -1  # in place of tokens behind the end of a row
AS_THEY_COME = ContextVar("as_they_come", default=False)


@contextmanager
def as_they_come(yes: bool = True) -> Iterator[None]:
    """Inside, texts are encoded as they come, each as often as it comes: for numbers whose last bits decide something,
    which depend on what is computed beside them."""
    token = AS_THEY_COME.set(yes)
    try:
        yield
    finally:
        AS_THEY_COME.reset(token)


def distinct(tokens: Tensor, ends: Tensor) -> tuple[Ints, Ints]:
    """The different rows of tokens (n, L) up to their ends (n,), in order, with BEHIND from there on; and which of
    them each row is, (n,)."""
    last = ends.cpu().numpy()[:, None]
    rows = np.where(np.arange(tokens.shape[1]) <= last, tokens.cpu().numpy(), BEHIND)[:, : int(last.max()) + 1]
    spelled = (rows - BEHIND).astype(">u4").view(f"S{4 * rows.shape[1]}")[:, 0]  # strings, in whose order rows are
    _, first, which = np.unique(spelled, return_index=True, return_inverse=True)
    return rows[first], which


def lengths(rows: Ints) -> Ints:
    """How many tokens each of the rows has that `distinct` gives, (n,)."""
    found: Ints = (rows != BEHIND).sum(axis=1)
    return found


def padded(rows: Ints) -> Tensor:
    """As an encoder takes them, with 0 behind the ends."""
    return torch.from_numpy(rows.clip(min=0))


def by_length(rows: Ints, encode: Callable[[Tensor], Tensor]) -> Tensor:
    """Rows as `distinct` gives them, (n, L), encoded from the shortest to the longest, each batch as long as its
    longest: (n, D)."""
    order = lengths(rows).argsort(kind="stable")
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    found = [encode(padded(rows[batch, : lengths(rows[batch]).max()])) for batch in batches]
    return torch.cat(found)[torch.from_numpy(order.argsort()).to(found[0].device)]


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
    tower = tower_of(model) if trees else None
    last = torch.full((len(tokens),), tokens.shape[1] - 1)
    rows, which = distinct(tokens, last if tower is None and not short else tokens.argmax(dim=1))
    if tower is not None:
        found = encode(tower, rows)
    else:
        found = by_length(rows, lambda some: text_features(model, some.to(tokens.device)))
    return found[torch.from_numpy(which).to(found.device)]


def _cut(tokens: Tensor) -> Tensor:
    """To the longest text."""
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


NODES = {"cpu": 1024, "cuda": 16384}  # of a tree: products of matrices as large as are fast
BLOCK = 64  # nodes: the work of attention grows with it, what is copied for attention shrinks


def tower_of(model: Any) -> Any:
    """The text encoder of an open_clip model, where it is one that this file computes; else None.

    Its parts must be open_clip's own and nobody's hooks in them: these would be gone round.
    """
    tower = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", None)
    if not isinstance(tower, (open_clip.CLIP, TextTransformer)) or tower.attn_mask is None:
        return None
    reads_the_end = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    if reads_the_end != "argmax" or getattr(tower, "cls_emb", None) is not None:
        return None
    transformer = tower.transformer
    plain = all(
        type(block) is ResidualAttentionBlock and type(block.attn) is nn.MultiheadAttention
        for block in transformer.resblocks
    )
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in transformer.modules())
    return tower if plain and not hooked else None


def encode(tower: Any, rows: Ints) -> Tensor:
    """What `encode_text` gives for rows as `distinct` gives them, (n, L) -> (n, D). Without gradients."""
    most = NODES.get(tower.positional_embedding.device.type, NODES["cpu"])
    x: Tensor = tower.ln_final(torch.cat([_encoded(tower, tree) for tree in _trees(rows, most)]))
    if isinstance(tower.text_projection, nn.Linear):
        x = tower.text_projection(x)
    elif tower.text_projection is not None:
        x = x @ tower.text_projection
    return x


@dataclass(frozen=True)
class Tree:
    """Rows (r, L) whose common beginnings are one. Of its N nodes, (N,) each, one is the token at `depths` of the row
    at `owners`; behind it come the nodes that go on from it, up to the one before its `stops`, and nobody else sees it.
    `path` (r, L) has the node of each token of each row, `ends` (r,) that of its last."""

    rows: Ints
    owners: Ints
    depths: Ints
    stops: Ints
    path: Ints
    ends: Ints


def _trees(rows: Ints, most: int) -> Iterator[Tree]:
    """One after another, each of as many rows as `most` nodes have room for, and of at least one."""
    begins, ends = _begins(rows), lengths(rows)
    first = nodes = 0
    for row in range(len(rows)):
        nodes += int(ends[row] - begins[row])
        if nodes > most and row > first:
            yield _tree(rows[first:row])
            first, nodes = row, int(ends[row])
    yield _tree(rows[first:])


def _begins(rows: Ints) -> Ints:
    """The first token of each row that is not also the one before's, (n,)."""
    differ = (rows[1:] != rows[:-1]).argmax(axis=1)
    return np.concatenate([np.zeros(1, np.int64), differ])


def _tree(rows: Ints) -> Tree:
    places, sizes = np.arange(rows.shape[1]), lengths(rows)
    inside = places < sizes[:, None]
    new = (places >= _begins(rows)[:, None]) & inside
    owners, depths = new.nonzero()
    numbers = (new.cumsum() - 1).reshape(rows.shape)  # of the nodes, where they are new
    sharing = np.maximum.accumulate(np.where(new, np.arange(len(rows))[:, None], 0), axis=0)
    path = numbers[sharing, places]
    ends, stops = path[np.arange(len(rows)), sizes - 1], np.zeros(len(owners), np.int64)
    np.maximum.at(stops, path[inside], np.repeat(ends + 1, sizes))
    return Tree(rows, owners, depths, stops, path, ends)


@dataclass(frozen=True)
class Blocks:
    """A tree's nodes in b blocks of q, one after another. `asking` (b, q) are the nodes, and `seen` (b, k) those that
    any of a block sees: what leads to its first, and the block; each sees what `mask` (b, 1, q, k) adds 0 for."""

    asking: Tensor
    seen: Tensor
    mask: Tensor


def _blocks(tree: Tree, like: Tensor) -> Blocks:
    nodes = len(tree.owners)
    number = math.ceil(nodes / BLOCK)
    asking = np.arange(number * math.ceil(nodes / number)).reshape(number, -1)
    first = asking[:, 0]
    places, nobody = np.arange(tree.depths[first].max()), asking.size
    leading = tree.path[tree.owners[first]][:, : len(places)]
    seen = np.concatenate([np.where(places < tree.depths[first, None], leading, nobody), asking], axis=1)
    stops = np.concatenate([tree.stops, np.arange(nodes, nobody + 1) + 1])  # what fills the last block sees itself
    sees = (seen[:, None] <= asking[..., None]) & (asking[..., None] < stops[seen][:, None])
    mask = torch.zeros(sees.shape, dtype=like.dtype).masked_fill(~torch.from_numpy(sees), -torch.inf)[:, None]
    asking, seen = asking.clip(max=nodes - 1), seen.clip(max=nodes - 1)
    return Blocks(*(some.to(like.device) for some in (torch.from_numpy(asking), torch.from_numpy(seen), mask)))


def _encoded(tower: Any, tree: Tree) -> Tensor:
    """The last layer's output at the ends of the rows of a tree: (r, width)."""
    x = _embedded(tower, tree)
    among, ends = _blocks(tree, x), torch.from_numpy(tree.ends).to(x.device)
    *layers, last = tower.transformer.resblocks
    for layer in layers:
        x = _layer(layer, x, among)
    return _layer(last, x, among, at=ends)


def _embedded(tower: Any, tree: Tree) -> Tensor:
    """Token and position of each node, (N, width). Rows are embedded whole, because learned context vectors are put in
    there."""
    tokens = padded(tree.rows).to(tower.positional_embedding.device)
    embedded: Tensor = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    return embedded[torch.from_numpy(tree.owners), torch.from_numpy(tree.depths)]


def _layer(layer: Any, x: Tensor, among: Blocks, *, at: Tensor | None = None) -> Tensor:
    """open_clip's ResidualAttentionBlock for the nodes x (N, width) of a tree: all, or those `at` (r,) alone."""
    attention, width = layer.attn, x.shape[-1]
    weights, biases = (part.split((width, 2 * width)) for part in (attention.in_proj_weight, attention.in_proj_bias))
    tokens = layer.ln_1(x)
    q = F.linear(tokens if at is None else tokens[at], weights[0], biases[0])
    if at is not None:
        q = torch.zeros_like(x).index_copy_(0, at, q)
    mixed = _mixed(q, F.linear(tokens, weights[1], biases[1]), among, heads=attention.num_heads)
    if at is not None:
        x, mixed = x[at], mixed[at]
    x = x + layer.ls_1(attention.out_proj(mixed))
    after: Tensor = x + layer.ls_2(_mlp(layer.mlp, layer.ln_2(x)))
    return after


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    """QuickGELU, h sigmoid(a h), is silu(a h) / a: both factors cost nothing in a product of matrices, and of what lies
    between, four times as wide as x, no copy is made."""
    if type(mlp.gelu) is not QuickGELU:
        found: Tensor = mlp(x)
        return found
    wide, narrow, a = mlp.c_fc, mlp.c_proj, 1.702
    h = torch.addmm(a * wide.bias, x, wide.weight.T, alpha=a)
    return torch.addmm(narrow.bias, F.silu(h, inplace=True), narrow.weight.T, alpha=1 / a)


def _mixed(q: Tensor, keys: Tensor, among: Blocks, *, heads: int) -> Tensor:
    """Attention of queries (N, width) to keys and values (N, 2 width), block by block: (N, width)."""
    # an embedding is what `keys[among.seen]` is, several times as fast on a CPU
    parts = (F.embedding(among.asking, q), *F.embedding(among.seen, keys).chunk(2, dim=-1))
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=among.mask)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)[: len(keys)]
