"""The precision that encoders are run in. Pixels, embeddings, losses and weights are float32 in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from store.errors import UserError

if TYPE_CHECKING:
    from .victim import Victim

AMPERE = (8, 0)  # the compute capability of NVIDIA's first GPUs with TF32 and bf16
SLOWLY = "MMCOA_SLOW_BF16"  # the variable that has a CPU without instructions for bf16 compute it all the same


def choose(precision: str, device: torch.device) -> None:
    """Have products of matrices on a GPU computed as this precision says, from now on.

    Raises UserError for TF32 on another device, and for what this one has no instructions for: on a CPU bf16 is then
    hundreds of times slower.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UserError("TF32 is a format of NVIDIA's GPUs", hint="--precision fp32")
    if precision == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        raise UserError("this CPU has no bf16 instructions", hint="--precision fp32")
    if precision != "fp32" and device.type == "cuda" and _is_older_than(AMPERE, device):
        raise UserError(f"this GPU has no {precision} instructions", hint="--precision fp32")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def cpu_computes_bf16() -> bool:
    """Whether it has instructions for that, or is to do without."""
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return SLOWLY in os.environ or any(probe() for probe in probes if probe is not None)


def _is_older_than(capability: tuple[int, int], gpu: torch.device) -> bool:
    """Of NVIDIA's; AMD counts otherwise."""
    return torch.version.cuda is not None and torch.cuda.get_device_capability(gpu) < capability


@contextmanager
def computing_in(victim: Victim, precision: str) -> Iterator[None]:
    """Inside, the victim computes in this precision: in fp32 is judged what an attack made in less."""
    before = victim.precision
    victim.use_precision(precision)
    try:
        yield
    finally:
        victim.use_precision(before)
