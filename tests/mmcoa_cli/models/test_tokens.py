"""Tokens of texts, read word by word and once, against what open_clip's tokenizer makes of each text."""

from __future__ import annotations

import random

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from mmcoa_cli.models.tokens import stacked, tokens_of


def test_a_text_is_tokenized_once():
    read = []

    def tokenizer(texts: list[str]) -> Tensor:
        read.extend(texts)
        return torch.tensor([[1, len(text), 9, 0] for text in texts])

    for texts in (["cat"], ["horse", "cat", "horse", "a dog"], [], ["cat"]):
        found = tokens_of(texts, tokenizer, short=True)
        assert [row.tolist() for row in found] == [[1, len(text), 9] for text in texts]
        found = tokens_of(texts, tokenizer, short=False)
        assert [row.tolist() for row in found] == [[1, len(text), 9, 0] for text in texts]
    assert read == ["cat", "cat", "horse", "a dog", "horse", "a dog"]


ODD = [
    "", " ", "a  cat ", "A Cat", "it's a t-shirt's", "cat.dog", "don't! (no)", "a_b", "x" * 99, "cat " * 99, "1234 5th",
    "caf\u00e9", "a\u00a0cat", "a\tcat\n", "&amp; cats", "&lt;b&gt;", "a & b", "<end_of_text> cat",
    "a <START_OF_TEXT>b", "\u2018curled\u2019", "\ufb01sh", "\x1b[31mred", "fi&#8217;sh", "sch\u00c3\u00b6n",
]  # fmt: skip


@pytest.mark.parametrize(("length", "clean"), [(77, "lower"), (77, "canonicalize"), (16, "whitespace"), (4, "lower")])
@pytest.mark.parametrize("short", [False, True])
def test_words_read_by_themselves_are_what_the_text_is(length: int, clean: str, short: bool):
    tokenizer = open_clip.SimpleTokenizer(context_length=length, clean=clean)
    for row, expected in zip(tokens_of(ODD, tokenizer, short=short), tokenizer(ODD).tolist(), strict=True):
        assert row.tolist() == (expected[: expected.index(tokenizer.eot_token_id) + 1] if short else expected)


def test_a_tokenizer_that_reduces_texts_reads_them_whole():
    tokenizer = open_clip.SimpleTokenizer(context_length=8, reduction_mask="simple")
    texts = ["a photo of a very small cat beside a dog", "a cat"]
    random.seed(0)  # it draws which words it keeps
    expected = tokenizer(texts).tolist()
    random.seed(0)
    assert [row.tolist() for row in tokens_of(texts, tokenizer, short=False)] == expected


def test_rows_are_stacked_with_nothing_behind():
    rows = [np.array(row, np.int32) for row in ([5], [7, 8, 9], [1, 0])]
    assert stacked(rows).tolist() == [[5, 0, 0], [7, 8, 9], [1, 0, 0]]
