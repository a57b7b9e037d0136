"""A batch that does not fit into memory at once, and the very loss and gradients of the whole of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def number_of_pieces(rows: int, most: int | None, *, own: int = 1, largest: int = 1) -> int:
    """Into how many pieces of at most `most` these rows are cut, which are of the `own` images of a process where
    another has the `largest` number: each cuts into as many as that one, because all gather the weights together."""
    return 1 if most is None else max(1, math.ceil(rows * largest / own / most))


class InPieces(nn.Module):
    """A victim that encodes at most `most` images, or texts, at a time; all where that is None.

    A contrastive loss pairs all images of a batch with all texts, so it cannot be summed over pieces. Of each piece
    only the embeddings stay in memory, and what led to them is computed once more when their gradient is there (Gao et
    al., 2021, "Scaling deep contrastive learning batch size under memory limited setup"). Any loss has the gradients
    that it has without pieces, up to rounding.
    """

    def __init__(self, victim: Any, most: int | None = None) -> None:
        super().__init__()
        self.victim, self.most = victim, most
        self.own, self.largest = 1, 1  # images of the batch that this process has, and the one that has most

    def forward(self, images: Tensor | None = None, tokens: Tensor | None = None, *, raw: bool = False) -> Any:
        """As the victim's own."""
        of_images = 0 if images is None else self._number(images)
        of_texts = 0 if tokens is None else number_of_pieces(len(tokens), self.most)
        if max(of_images, of_texts) <= 1:
            return self.victim(images, tokens, raw=raw)
        return (
            None if images is None else self._encoded(images, of_images, lambda piece: self.victim(piece, raw=raw)[0]),
            None if tokens is None else self._encoded(tokens, of_texts, lambda piece: self.victim(None, piece)[1]),
            self.victim.scale,
        )

    def _number(self, images: Tensor) -> int:
        return number_of_pieces(len(images), self.most, own=self.own, largest=self.largest)

    def _encoded(self, rows: Tensor, number: int, encode: Callable[[Tensor], Tensor]) -> Tensor:
        pieces = rows.tensor_split(number)
        if not torch.is_grad_enabled():
            return torch.cat([encode(piece) for piece in pieces])
        # nothing random is in it: neither dropout nor BatchNorm's statistics are at work
        kept = [checkpoint(encode, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        return torch.cat(kept)
