"""Learned context vectors in front of a text (Zhou et al., 2022, CoOp): what AdvPT trains.

A class prompt is "X X ... X cat.", and the embeddings of the X are the learned vectors. Texts are what stands behind
them: the class name and its full stop are the prompt's words, and all that an attack on the text can replace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from store.errors import UserError

from .token_rows import SHORTER
from .victim import Victim, Wrapper
from .wrappers import CONTEXT, ContextSettings

PLACE = "X"  # the word whose embeddings are replaced
STD = 0.02


class Context(Wrapper):
    """g([start] v_1 ... v_n text [end]), with one set of vectors for all classes."""

    settings: ContextSettings

    def __init__(self, inner: Victim, settings: ContextSettings) -> None:
        super().__init__(inner, settings)
        _require_none_inside(inner)
        self._embedding = [_token_embedding(inner)]  # in a list, so that it is no part of this module
        self._reads = int(inner.tokenizer([""]).shape[1])
        self.count = settings.count(self._reads)
        self._places = f"{PLACE} " * self.count
        self.tokenizer = self._tokens_placed
        _require_places(inner, min(self.count, self._reads - 2))
        self.context = nn.Parameter(torch.zeros(self.count, self._embedding[0].embedding_dim))
        if self.count != CONTEXT and settings.n_ctx is None:
            self.note = (
                f"{self.count} context vectors, half of the {self._reads} tokens that {inner.name} reads; "
                f"published with {CONTEXT}"
            )

    def draw(self, seed: int) -> None:
        """From N(0, 0.02), as published."""
        generator = torch.Generator().manual_seed(seed)
        self.state()["context"].copy_(torch.randn(self.context.shape, generator=generator) * STD)

    def require(self, prompts: Sequence[str]) -> None:
        """Raises UserError where the vectors and the longest prompt are more than the model reads."""
        lengths = [len(row) for row in self.inner.token_rows(prompts)]
        longest = max(range(len(prompts)), key=lengths.__getitem__)
        fits = self._reads - lengths[longest]
        if self.count > fits:
            raise UserError(
                f'{self.count} context vectors and the {lengths[longest]} tokens of "{prompts[longest]}" are more than '
                f"the {self._reads} that {self.inner.name} reads",
                hint=f"-o n_ctx={fits}" if fits > 0 else SHORTER,
            )

    def _tokens_placed(self, texts: Sequence[str], **options: Any) -> Tensor:
        found: Tensor = self.inner.tokenizer(self._placed(texts), **options)
        return found

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self.inner.tokenize(self._placed(texts))

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return self.inner.token_rows(self._placed(texts))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        with self.context_placed():
            return super().encode_texts(tokens)

    @contextmanager
    def context_placed(self) -> Iterator[None]:
        """Inside, the embeddings of the places are the learned vectors."""

        def replace(_: nn.Module, __: Any, embedded: Tensor) -> Tensor:
            own = self.context.to(embedded.dtype).expand(len(embedded), -1, -1)
            return torch.cat([embedded[:, :1], own, embedded[:, 1 + self.count :]], dim=1)

        hook = self._embedding[0].register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()

    def _placed(self, texts: Sequence[str]) -> list[str]:
        return [self._places + text for text in texts]


def _token_embedding(inner: Victim) -> nn.Embedding:
    """The layer that embeds a text's tokens. Raises UserError for a text encoder that open_clip did not write."""
    model = inner.clip.model
    found = getattr(getattr(model, "text", model), "token_embedding", None)
    if not isinstance(found, nn.Embedding):
        raise UserError(
            f"the text encoder of {inner.name} is not CLIP's own: it takes no context vectors",
            hint="--model with a CLIP that has one, as ViT-B-32",
        )
    return found


def _require_places(inner: Victim, count: int) -> None:
    """Raises UserError for a tokenizer that does not put one and the same token at each place, behind a first one."""
    (row,) = inner.token_rows([PLACE + f" {PLACE}" * (count - 1)])
    if len(row) != count + 2 or len(set(row[1:-1])) != 1:
        raise UserError(
            f"{inner.name} does not read texts by CLIP's own tokens, to their ends: no place for context vectors",
            hint="--model with a CLIP that has one, as ViT-B-32",
        )


def _require_none_inside(inner: Victim) -> None:
    while isinstance(inner, Wrapper):
        if isinstance(inner, Context):
            raise UserError(
                f"{inner.name} has learned context vectors already", hint="--model with what they stand around"
            )
        inner = inner.inner
