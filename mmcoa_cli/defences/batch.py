"""One batch that several processes share: each has a slice of its images, and gets a row for every image of all. And
one that does not fit into memory at once, with the very loss and gradients of the whole of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass
class Batch:
    """`own_labels` (b,) are those of this process's slice, `all_labels` (B,) those of the batch, whose slices have
    these `sizes`. While an attack runs on the slice, it is `alone`: then nothing is gathered."""

    own_labels: Tensor
    all_labels: Tensor
    sizes: list[int]
    numbers: npt.NDArray[np.int64] | None = None  # of the batch's images in the dataset, (B,)
    alone: bool = False

    @property
    def labels(self) -> Tensor:
        return self.own_labels if self.alone else self.all_labels

    @contextmanager
    def on_slice(self) -> Iterator[None]:
        """Inside, this process is alone with its slice."""
        before, self.alone = self.alone, True
        try:
            yield
        finally:
            self.alone = before

    def whole(self, rows: Tensor) -> Tensor:
        """The rows (b, D) of the slice -> those of the batch, (B, D), in order; gradients flow back to the process that
        a row came from."""
        if self.alone or len(self.sizes) == 1:
            return rows
        padded = torch.cat([rows, rows.new_zeros(max(self.sizes) - len(rows), rows.shape[1])])
        return torch.cat([part[:size] for part, size in zip(_Gather.apply(padded), self.sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """Rows of this process (b, D) -> those of each process. All of them compute one and the same loss from what they
    gather, so the gradients that the others have for these rows are the one that this process has."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        gathered = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(gathered, rows)
        return tuple(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.distributed.get_world_size() * gradients[torch.distributed.get_rank()]


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
