"""Refuse NaN and infinity where they arise, before they become a model or a result."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from store.errors import UserError

from .dtensors import local_part

OVERFLOW = "the model overflows: in training take a smaller --lr, in bf16 --precision fp32"


def require_finite(tensor: Tensor, what: str) -> Tensor:
    """The tensor itself. Raises UserError unless all of it is finite; `what` says what it holds, in the plural."""
    if not tensor.isfinite().all():
        bad = int((~tensor.isfinite()).sum())
        raise UserError(f"{what} are not all finite numbers ({bad:,} of {tensor.numel():,} are not)", hint=OVERFLOW)
    return tensor


class Watched:
    """Tensors that are to be finite, looked at where they are and asked about at the end: a GPU goes on meanwhile."""

    def __init__(self, what: str) -> None:
        self._what, self._bad, self._of = what, torch.zeros(()), 0

    def saw(self, tensor: Tensor) -> None:
        """Count what is not finite, unless it was in a tensor before."""
        bad = (~tensor.isfinite()).sum()
        before = self._bad.to(bad)
        self._bad, self._of = torch.where(before > 0, before, bad), tensor.numel()

    def require(self) -> None:
        """Raises UserError unless all of all tensors is finite."""
        if self._bad:
            raise UserError(
                f"{self._what} are not all finite numbers ({int(self._bad):,} of {self._of:,} are not)", hint=OVERFLOW
            )


def require_finite_weights(model: nn.Module, name: str, *, hint: str) -> None:
    """Raises UserError, with the first of the weights that are not finite, unless all are."""
    for of, weight in model.state_dict().items():
        if weight.is_floating_point() and not all_finite(local_part(weight)):
            raise UserError(f"{name} has weights that are not finite numbers ({of})", hint=hint)


def all_finite(tensor: Tensor) -> bool:
    """As `tensor.isfinite().all()`, in one pass and with no memory of its size: its ends are NaN where any of it is."""
    return tensor.numel() == 0 or all(end.isfinite() for end in tensor.aminmax())


def require_finite_loss(loss: float, *, lr: float) -> float:
    """The loss itself. Raises UserError unless it is finite."""
    if not math.isfinite(loss):
        raise UserError(f"the loss became {loss}", hint=smaller_lr(lr))
    return loss


def smaller_lr(lr: float) -> str:
    """Say what helps a training whose numbers grew beyond all bounds."""
    return f"try a smaller learning rate: --lr {lr / 10:g}"
