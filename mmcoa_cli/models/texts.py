"""Texts as rows of tokens, made once a text; and an open_clip model's text encoder of them: with gradients as open_clip
has it, without in less work.

What texts have in common up to some token is computed once, in trees of tokens, where the encoder is causal: a token
sees none behind it, so its keys and values are the same in all texts that begin alike: candidates of one word, and
"This is a photo of a" in every class prompt. Rows of tokens, sorted, are cut into trees of at most NODES tokens, and
each tree is one sequence in which a token sees its own beginning and nothing of the other branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn

Ints = npt.NDArray[np.int64]
Row = npt.NDArray[np.int32]

BATCH = 512
BEHIND = -1  # in place of tokens behind the end of a row
REMEMBERED = 2**16  # texts: about 30 MB

_known: WeakKeyDictionary[Any, dict[tuple[str, bool], Row]] = WeakKeyDictionary()  # of each tokenizer, while it lives
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


def tokens_of(text: str, tokenizer: Any, *, short: bool) -> Row:
    """The tokens of a text, up to its end where they are `short`; a training run meets the same texts at every step."""
    known = _known.setdefault(tokenizer, {})
    if (text, short) not in known:
        if len(known) >= REMEMBERED:
            known.clear()
        (row,) = tokenizer([text]).numpy().astype(np.int32)
        known[text, short] = row[: int(row.argmax()) + 1].copy() if short else row
    return known[text, short]


def distinct(tokens: Tensor, ends: Tensor) -> tuple[Ints, Ints]:
    """The different rows of tokens (n, L) up to their ends (n,), in order, with BEHIND from there on; and which of
    them each row is, (n,)."""
    last = ends.cpu().numpy()[:, None]
    rows = np.where(np.arange(tokens.shape[1]) <= last, tokens.cpu().numpy(), BEHIND)[:, : int(last.max()) + 1]
    found, which = np.unique(rows, axis=0, return_inverse=True)
    return found, which.reshape(-1)


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


NODES = 256  # the work of attention grows with its square, what trees share shrinks with its inverse
AT_ONCE = {"cpu": 4, "cuda": 64}  # trees: products of matrices as large as are fast


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
    every = list(_trees(rows))
    at_once = AT_ONCE.get(tower.positional_embedding.device.type, AT_ONCE["cpu"])
    some = [_encoded(tower, every[start : start + at_once]) for start in range(0, len(every), at_once)]
    x: Tensor = tower.ln_final(torch.cat(some))
    if isinstance(tower.text_projection, nn.Linear):
        x = tower.text_projection(x)
    elif tower.text_projection is not None:
        x = x @ tower.text_projection
    return x


@dataclass(frozen=True)
class Tree:
    """Rows (r, L) whose common beginnings are one. A node (of N) is the token at `depths` of the row at `owners`; it
    sees the nodes that `sees` (N, N) says. The rows' ends are the nodes `ends` (r,)."""

    rows: Ints
    owners: Ints
    depths: Ints
    sees: npt.NDArray[np.bool_]
    ends: Ints


def _trees(rows: Ints) -> Iterator[Tree]:
    """One after another, each of as many rows as NODES has room for, and of at least one."""
    begins, ends = _begins(rows), lengths(rows)
    first = nodes = 0
    for row in range(len(rows)):
        nodes += int(ends[row] - begins[row])
        if nodes > NODES and row > first:
            yield _tree(rows[first:row])
            first, nodes = row, int(ends[row])
    yield _tree(rows[first:])


def _begins(rows: Ints) -> Ints:
    """The first token of each row that is not also the one before's, (n,)."""
    differ = (rows[1:] != rows[:-1]).argmax(axis=1)
    return np.concatenate([np.zeros(1, np.int64), differ])


def _tree(rows: Ints) -> Tree:
    places, ends = np.arange(rows.shape[1]), lengths(rows) - 1
    new = (places >= _begins(rows)[:, None]) & (places <= ends[:, None])
    owners, depths = new.nonzero()
    numbers = (new.cumsum() - 1).reshape(rows.shape)  # of the nodes, where they are new
    sharing = np.maximum.accumulate(np.where(new, np.arange(len(rows))[:, None], 0), axis=0)
    path = numbers[sharing, places]  # (r, L): the node of each token of each row
    own, ancestors = (places <= depths[:, None]).nonzero()
    sees = np.zeros((len(owners), len(owners)), np.bool_)
    sees[own, path[owners[own], ancestors]] = True
    return Tree(rows, owners, depths, sees, path[np.arange(len(rows)), ends])


def _encoded(tower: Any, trees: list[Tree]) -> Tensor:
    """The last layer's output at the ends of the rows of some trees, side by side as a batch: (rows, width)."""
    device, size = tower.positional_embedding.device, max(len(tree.owners) for tree in trees)
    x = torch.stack([F.pad(_embedded(tower, tree), (0, 0, 0, size - len(tree.owners))) for tree in trees])
    sees = np.stack([_padded(tree.sees, size) for tree in trees])
    mask = torch.zeros(sees.shape, dtype=x.dtype).masked_fill(~torch.from_numpy(sees), -torch.inf).to(device)
    most = max(len(tree.ends) for tree in trees)
    ends = torch.from_numpy(np.stack([np.pad(tree.ends, (0, most - len(tree.ends))) for tree in trees])).to(device)
    *blocks, last = tower.transformer.resblocks
    for block in blocks:
        x = _block(block, x, mask)
    own = ends[..., None]
    at_ends, seen = x.gather(1, own.expand(-1, -1, x.shape[-1])), mask.gather(1, own.expand(-1, -1, size))
    x = _block(last, at_ends, seen, among=x)
    return torch.cat([x[number, : len(tree.ends)] for number, tree in enumerate(trees)])


def _embedded(tower: Any, tree: Tree) -> Tensor:
    """Token and position of each node. Rows are embedded whole, because learned context vectors are put in there."""
    tokens = padded(tree.rows).to(tower.positional_embedding.device)
    embedded: Tensor = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    return embedded[torch.from_numpy(tree.owners), torch.from_numpy(tree.depths)]


def _padded(sees: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """With nodes that see nothing but themselves."""
    padded = np.eye(size, dtype=np.bool_)
    padded[: len(sees), : len(sees)] = sees
    return padded


def _block(block: Any, x: Tensor, mask: Tensor, *, among: Tensor | None = None) -> Tensor:
    """open_clip's ResidualAttentionBlock for tokens x (T, Q, D), which see the tokens `among` (T, N, D), x itself where
    there are none, by `mask` (T, Q, N)."""
    attention, width = block.attn, x.shape[-1]
    queries = block.ln_1(x)
    keys = queries if among is None else block.ln_1(among)
    weights, biases = attention.in_proj_weight.split(width), attention.in_proj_bias.split(width)
    q, k, v = (
        F.linear(tokens, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for tokens, weight, bias in zip((queries, keys, keys), weights, biases, strict=True)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None]).transpose(1, 2).flatten(2)
    x = x + block.ls_1(attention.out_proj(mixed))
    after: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return after
