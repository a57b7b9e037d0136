"""A batch that does not fit into memory at once, and the very loss and gradients of the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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

    def forward(self, images: Tensor | None = None, tokens: Tensor | None = None, *, raw: bool = False) -> Any:
        """As the victim's own."""
        rows = max((len(part) for part in (images, tokens) if part is not None), default=0)
        if self.most is None or rows <= self.most:
            return self.victim(images, tokens, raw=raw)
        return (
            None if images is None else self._encoded(images, lambda piece: self.victim(piece, raw=raw)[0]),
            None if tokens is None else self._encoded(tokens, lambda piece: self.victim(None, piece)[1]),
            self.victim.scale,
        )

    def _encoded(self, rows: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        pieces = rows.split(self.most or len(rows))
        if not torch.is_grad_enabled():
            return torch.cat([encode(piece) for piece in pieces])
        # nothing random is in it: neither dropout nor BatchNorm's statistics are at work
        kept = [checkpoint(encode, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        return torch.cat(kept)
