"""Texts as rows of tokens: made once a text, encoded once a row, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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
