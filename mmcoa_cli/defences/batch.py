"""One batch that several processes share: each has a slice of its images, and gets a row for every image of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from torch import Tensor


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
