"""Tensors of which each process has a part (torch's DTensor): made whole where they are stored or compared.

Importing this module imports nothing of torch.distributed: most processes are alone.
"""

from __future__ import annotations

from torch import Tensor


def is_divided(tensor: Tensor) -> bool:
    """Whether it is a part that has others elsewhere."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of it, on the CPU. Of a divided one every process has to ask at the same time."""
    full = tensor.detach()
    return (full.full_tensor() if is_divided(full) else full).cpu().contiguous()  # type: ignore[attr-defined]


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of it."""
    return tensor.to_local() if is_divided(tensor) else tensor  # type: ignore[attr-defined]
