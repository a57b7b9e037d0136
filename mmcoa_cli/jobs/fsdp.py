"""Weights, gradients and the optimizer's moments divided among processes (FSDP2), for a model of which one device's
memory holds no four copies.

Accelerate leaves a model on CPUs whole whatever its configuration says, and cannot divide one that has a scalar, as
each CLIP has (its temperature). So the configuration is Accelerate's, and the dividing torch's own `fully_shard`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from store.errors import UserError

from ..models.dtensors import is_dtensor
from .training_spec import TrainSpec

ASKED, VERSION = "ACCELERATE_USE_FSDP", "FSDP_VERSION"  # as `accelerate launch` sets them by a configuration


def taken_over() -> bool:
    """Whether the configuration that this process was started by asks for FSDP; Accelerate is not told of it any more.

    Raises UserError for its first version.
    """
    if os.environ.pop(ASKED, "false").lower() != "true":
        return False
    if os.environ.get(VERSION, "1") != "2":
        raise UserError("the configuration asks for FSDP1", hint="write fsdp_version: 2 below fsdp_config in the file")
    return True


def require_divisible(spec: TrainSpec) -> None:
    """Raises UserError for a run whose processes would wait for each other for ever, or that has little to divide."""
    if spec.row.wrapper:
        raise UserError(
            f"FSDP divides a model's own weights, and {spec.method} trains a prompt", hint="use_fsdp: false in the file"
        )
    if spec.image_attack.stop_when_fooled:
        raise UserError(
            "with FSDP all processes take the same steps, and images that are fooled leave them early",
            hint="leave out -o stop_when_fooled=true",
        )


def divide(module: nn.Module, accelerator: Accelerator) -> None:
    """Divide the weights of each block, and of what is no block, among the processes; a scalar stays whole in each.

    Every process computes the same loss from what all have encoded, so its gradient needs no averaging.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    scalars = {weight for weight in module.parameters() if weight.ndim == 0}
    for block in blocks_of(module):
        fully_shard(block, mesh=mesh, ignored_params=scalars)
    fully_shard(module, mesh=mesh, ignored_params=scalars)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The parts that a tower has many of: the elements of a list of modules of one class, none of them in another."""
    for child in module.children():
        elements = [*child.children()] if isinstance(child, (nn.ModuleList, nn.Sequential)) else []
        alike = len(elements) > 1 and all(isinstance(one, type(elements[0])) for one in elements)
        if alike and any(True for _ in elements[0].parameters()):
            yield from elements
        else:
            yield from blocks_of(child)


def of_divided(
    before: Optimizer, trained: Sequence[nn.Parameter], make: Callable[[Sequence[nn.Parameter]], Optimizer]
) -> Optimizer:
    """The optimizer of weights that were divided since `before` was made for them, with their part of its moments."""
    made, whole = make(trained), [weight for group in before.param_groups for weight in group["params"]]
    for one, part in zip(whole, trained, strict=True):
        if one in before.state:
            made.state[part] = {name: _part(moment, part) for name, moment in before.state[one].items()}
    return made


def _part(moment: Any, of: nn.Parameter) -> Any:
    """A moment divided as its weight is; a number, as that of the steps, as it is."""
    from torch.distributed.tensor import distribute_tensor

    if not isinstance(moment, Tensor) or not is_dtensor(of) or moment.ndim == 0:
        return moment
    with torch.no_grad():
        return distribute_tensor(moment, of.device_mesh, of.placements)  # type: ignore[attr-defined]
