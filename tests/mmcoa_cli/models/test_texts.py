"""Texts encoded over trees of tokens and in batches by length, against open_clip's own `encode_text` of one text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcoa_cli.models import texts as of_texts
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.texts import BEHIND, Ints, by_length, distinct

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4},
    "text_cfg": TEXT,
}
WORDS = ["cat", "dog", "jack-o'-lantern", "maple tree", "colobus", "[UNK]", "é", "", "photo of a cat"]
TEXTS = [f"This is a {first} of a {second}" for first in WORDS for second in WORDS] + WORDS + ["one " * 40] * 2
TOWERS: dict[str, dict[str, Any]] = {
    "as CLIP's": VIT,
    "own text tower": {**VIT, "custom_text": True},
    "linear projection": {**VIT, "text_cfg": {**TEXT, "proj_bias": True}},
    "no projection": {**VIT, "text_cfg": {**TEXT, "proj_type": "none"}},
    "quick gelu": {**VIT, "quick_gelu": True},
    "scaled layers": {**VIT, "text_cfg": {**TEXT, "ls_init_value": 0.5}},
    "one layer": {**VIT, "text_cfg": {**TEXT, "layers": 1}},
    "longer than a tree": {**VIT, "text_cfg": {**TEXT, "context_length": 400}},
}
OTHERS: dict[str, dict[str, Any]] = {
    "no causal mask": {**VIT, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "pooled at the last token": {**VIT, "text_cfg": {**TEXT, "pool_type": "last"}},
    "other blocks": {**VIT, "text_cfg": {**TEXT, "block_type": "custom", "qk_norm": True}},
    "a class token": {**VIT, "custom_text": True, "text_cfg": {**TEXT, "embed_cls": True}},
}


@torch.no_grad()
def one_by_one(clip: Clip, texts: list[str]) -> Tensor:
    """Each text alone, at the whole context, by open_clip's own code."""
    return torch.cat([clip.model.encode_text(clip.tokenizer([text]), normalize=True) for text in texts])


@pytest.fixture(params=[(512, 64), (512, 5), (40, 64), (40, 1), (7, 3)])
def nodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """So many tokens has a tree: more than all texts have, some of them, less than one of them; and so many a block."""
    nodes, block = request.param
    monkeypatch.setattr(of_texts, "NODES", {"cpu": nodes})
    monkeypatch.setattr(of_texts, "BLOCK", block)
    return int(nodes)


@pytest.mark.parametrize("tower", TOWERS)
def test_a_tree_is_each_text_alone(tower: str, nodes: int):
    clip = new_clip(TOWERS[tower], name="clip", seed=0)
    texts = [*TEXTS, "two " * 390] if tower == "longer than a tree" else TEXTS
    expected = one_by_one(clip, texts)
    assert of_texts.tower_of(clip.model) is not None
    torch.testing.assert_close(clip.embed_texts(texts), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tower", TOWERS)
def test_in_double_precision_it_is_the_same_to_its_rounding(tower: str):
    clip = new_clip(TOWERS[tower], name="clip", seed=1)
    model = clip.model.double()
    tokens = clip.tokenizer(TEXTS)
    rows, which = distinct(tokens, tokens.argmax(dim=1))
    with torch.no_grad():
        found = of_texts.encode(of_texts.tower_of(model), rows)[torch.from_numpy(which)]
        expected = torch.cat([model.encode_text(tokens[k : k + 1]) for k in range(len(tokens))])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tower", OTHERS)
def test_other_towers_keep_open_clips_own_computation(tower: str):
    clip = new_clip(OTHERS[tower], name="clip", seed=0)
    assert of_texts.tower_of(clip.model) is None
    torch.testing.assert_close(clip.embed_texts(TEXTS), one_by_one(clip, TEXTS), rtol=0, atol=2e-6)


def hook(clip: Clip) -> None:
    clip.model.transformer.resblocks[0].register_forward_hook(lambda _, __, x: 2 * x)


def pre_hook(clip: Clip) -> None:
    clip.model.transformer.resblocks[1].attn.register_forward_pre_hook(lambda _, args: tuple(2 * x for x in args))


def another_class(clip: Clip) -> None:
    """As sharding over devices does it."""
    block = clip.model.transformer.resblocks[0]
    block.__class__ = type("Doubled", (type(block),), {"forward": lambda self, x, **more: 2 * x})


@pytest.mark.parametrize("change", [hook, pre_hook, another_class])
def test_what_somebody_put_into_the_encoder_is_not_gone_round(small_clips: dict[str, Clip], change: Any):
    original = small_clips["vit"]
    clip = copy.deepcopy(original, {id(original.tokenizer): original.tokenizer})
    change(clip)
    with torch.no_grad():
        expected = F.normalize(clip.model.encode_text(clip.tokenizer(TEXTS)), dim=-1)
    assert not torch.allclose(expected, original.embed_texts(TEXTS), atol=1e-3)
    torch.testing.assert_close(clip.embed_texts(TEXTS), expected, rtol=0, atol=2e-6)


def test_the_same_tokens_have_the_same_bits(small_clips: dict[str, Clip]):
    """Ties are decided by that: where two texts are one to the model, neither is better."""
    some = ["a cat", "A  CAT", "a dog", *[f"a number {k}" for k in range(700)], "a cat", "a &amp; b", "a & b"]
    found = small_clips["vit"].embed_texts(some)
    for first, second in [(0, 1), (0, 703), (704, 705)]:
        assert torch.equal(found[first], found[second])
    assert not torch.equal(found[0], found[2])


def test_gradients_still_reach_the_encoder(clip: Clip):
    embedded = clip.encode_texts(clip.tokenize(TEXTS))
    embedded.sum().backward()
    assert all(weight.grad is not None for weight in clip.model.transformer.parameters())
    torch.testing.assert_close(clip.embed_texts(TEXTS), embedded.detach(), rtol=0, atol=1e-6)


ROWS = [[1, 5, 6, 9], [1, 5, 7, 9], [1, 5, 9], [1, 5, 6, 9], [2, 5, 6, 9]]
# tokens of each tree, by the most that one has; sorted 1 5 6 9, then 1 5 7 9 with two more, 1 5 9 with one, 2 5 6 9
SIZES = {100: [11], 6: [6, 3, 4], 3: [4, 4, 3, 4]}


@pytest.mark.parametrize("most", SIZES)
def test_a_tree_has_each_beginning_once(most: int):
    tokens = torch.zeros(len(ROWS), 8, dtype=torch.int64)
    for k, row in enumerate(ROWS):
        tokens[k, : len(row)] = torch.tensor(row)
    rows, which = distinct(tokens, tokens.argmax(dim=1))
    assert which.tolist() == [0, 1, 2, 0, 3]
    trees = list(of_texts._trees(rows, most))
    assert [len(tree.owners) for tree in trees] == SIZES[most]
    for tree in trees:
        for row, end in zip(tree.rows, tree.ends, strict=True):
            seen = [node for node in range(end + 1) if end < tree.stops[node]]
            read = [int(tree.rows[tree.owners[node], tree.depths[node]]) for node in seen]
            assert read == [token for token in row if token != BEHIND]


def lengths_seen(seen: list[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    def encode(tokens: Tensor) -> Tensor:
        seen.append((len(tokens), tokens.shape[1]))
        return tokens.double().sum(dim=1, keepdim=True)

    return encode


def test_batches_are_as_long_as_their_longest_and_come_back_in_order():
    seen: list[tuple[int, int]] = []
    rows: Ints = np.full((1000, 30), BEHIND, np.int64)
    for k in range(1000):
        rows[k, : 30 if k % 2 else 4] = k
    found = by_length(rows, lengths_seen(seen))
    assert seen == [(512, 30), (488, 30)] or seen == [(512, 30), (488, 30)][::-1]
    assert found[:, 0].tolist() == [k * (30 if k % 2 else 4) for k in range(1000)]
    seen.clear()
    by_length(rows[::2], lengths_seen(seen))
    assert seen == [(500, 4)]


def test_different_rows_are_in_order():
    """As numpy finds them column by column: token 0, those beyond two bytes, and ends of rows included."""
    rng = np.random.default_rng(0)
    tokens, ends = torch.from_numpy(rng.integers(0, 3, (300, 6))) * 32768, torch.from_numpy(rng.integers(0, 6, 300))
    rows = np.where(np.arange(6) <= ends.numpy()[:, None], tokens.numpy(), BEHIND)
    expected, expected_which = np.unique(rows, axis=0, return_inverse=True)
    found, which = distinct(tokens, ends)
    assert found.tolist() == expected.tolist()
    assert which.tolist() == expected_which.reshape(-1).tolist()
