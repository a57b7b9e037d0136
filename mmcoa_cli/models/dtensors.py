"""Tensors of which each process has a part (torch's DTensor): made whole where they are stored or compared.

Importing this module imports nothing of torch.distributed: most processes are alone.
"""

from __future__ import annotations

from torch import Tensor


def is_dtensor(tensor: Tensor) -> bool:
    """Whether it is a part that has others elsewhere."""
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """All of it, on the CPU. Of a divided one every process has to ask at the same time."""
    full = tensor.detach()
    return (full.full_tensor() if is_dtensor(full) else full).cpu().contiguous()  # type: ignore[attr-defined]


def local_part(tensor: Tensor) -> Tensor:
    """What this process has of it."""
    return tensor.to_local() if is_dtensor(tensor) else tensor  # type: ignore[attr-defined]
