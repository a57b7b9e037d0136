"""Texts as rows of tokens, made once a text: a training run meets the same ones at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from torch import Tensor

Row = npt.NDArray[np.int32]
T = TypeVar("T")

REMEMBERED = 2**16  # texts: about 30 MB

_known: WeakKeyDictionary[Any, dict[bool, dict[str, Row]]] = WeakKeyDictionary()  # of each tokenizer, while it lives
_read: WeakKeyDictionary[Any, dict[str, list[int]]] = WeakKeyDictionary()  # the tokens of words, of each as well


def tokens_of(texts: Sequence[str], tokenizer: Any, *, short: bool) -> list[Row]:
    """The tokens of each text, up to its end where they are `short`."""
    known = _bounded(_known.setdefault(tokenizer, {}).setdefault(short, {}))
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        for text, row in zip(new, _tokenized(new, tokenizer), strict=True):
            known[text] = row[: int(row.argmax()) + 1 if short else None].copy()
    return [known[text] for text in texts]


def _bounded(known: dict[str, T]) -> dict[str, T]:
    if len(known) >= REMEMBERED:
        known.clear()
    return known


def _tokenized(texts: list[str], tokenizer: Any) -> npt.NDArray[np.int32]:
    """What the tokenizer makes of them, (n, L). Of CLIP's own no token has a space in it: it reads each word once."""
    if type(tokenizer) is not open_clip.SimpleTokenizer or tokenizer.reduction_fn is not None:
        found: npt.NDArray[np.int32] = tokenizer(texts).numpy().astype(np.int32)
        return found
    known, length = _bounded(_read.setdefault(tokenizer, {})), tokenizer.context_length
    found = np.zeros((len(texts), length), np.int32)
    for row, words in zip(found, map(_words, texts), strict=True):
        known.update({word: tokenizer.encode(word) for word in words if word not in known})
        tokens = [token for word in words for token in known[word]][: length - 2]
        row[: len(tokens) + 2] = [tokenizer.sot_token_id, *tokens, tokenizer.eot_token_id]
    return found


def _words(text: str) -> list[str]:
    """What can be read by itself: of a text that may have to be repaired first (HTML, odd signs) only the whole."""
    plain = text.isascii() and text.isprintable() and "&" not in text
    return text.split(" ") if plain else [text]


def stacked(rows: Sequence[Row]) -> Tensor:
    """Rows of any length with 0 behind their ends, (n, L)."""
    sizes = np.array([len(row) for row in rows])
    found = np.zeros((len(rows), sizes.max()), np.int64)
    found[np.arange(sizes.max()) < sizes[:, None]] = np.concatenate(rows)
    return torch.from_numpy(found)
