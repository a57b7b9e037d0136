"""Steps of the optimizer: a loss, its gradients, an update; in pieces where memory runs out, or with what a tower's
blocks hold for the gradients computed again instead of kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from store.errors import UserError

from ..defences import Loss, loss_of
from ..defences.batch import InPieces
from ..defences.step import Module, Step
from ..models.memory import bytes_of_step, free_memory
from ..models.victim import Victim
from ..terminal.console import say
from ..terminal.errors import is_out_of_memory
from ..terminal.signals import held
from .job import Conduct
from .out_of_memory import Pieces
from .training_plan import Plan


@dataclass(frozen=True)
class Update:
    """Takes one step after another. `encoders` are the victim; `module` is what Accelerate made of them."""

    loss: Loss
    encoders: InPieces
    module: Module
    optimizer: Any
    schedule: LRScheduler
    accelerator: Accelerator
    pieces: Pieces

    @classmethod
    def prepared(
        cls,
        plan: Plan,
        encoders: InPieces,
        optimizer: Optimizer,
        schedule: LRScheduler,
        accelerator: Accelerator,
        *,
        divided: bool = False,
    ) -> Update:
        """Of the plan's victim in `encoders`, which are `divided` among the processes already, or whole in each."""
        micro_batch = encoders.most
        # not the schedule: Accelerate would step it once for each process, and all processes take one step
        module, prepared = (encoders, optimizer) if divided else accelerator.prepare(encoders, optimizer)
        pieces = Pieces(f"training with {plan.row.name}", micro_batch)
        return cls(loss_of(plan.row.loss), encoders, module, prepared, schedule, accelerator, pieces)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def __call__(self, step: Step, taken: Callable[[Tensor], None]) -> None:
        """Take the step, and tell `taken` the loss before it, a scalar that is still on the device. A signal is raised
        before the step, or when it is taken and told."""
        loss = self._gradients(step)
        with held():
            self.optimizer.step()
            self.schedule.step()
            taken(loss)

    def _gradients(self, step: Step) -> Tensor:
        """Leave the loss's gradients in the weights. Where memory runs out, in smaller pieces: the step is the same.

        Raises UserError where it does not suffice for one image, and in one of several processes, which all would have
        to go back.
        """
        while True:
            images = min(len(step.indices), self.pieces.most or len(step.indices))
            found = self.pieces.attempt(images, lambda: self._backward(step))
            if found is not None:
                return found
            step.forget()
            self.encoders.most = self.pieces.most

    def _backward(self, step: Step) -> Tensor:
        step.micro_batch = self.pieces.most
        self.encoders.own, self.encoders.largest = len(step.indices), max(step.batch.sizes)
        self.optimizer.zero_grad()
        try:
            loss = self.loss(step)
            self.accelerator.backward(loss)
            return loss.detach()
        except Exception as error:
            if self.accelerator.num_processes == 1 or not is_out_of_memory(error):
                raise
            half = max(1, min(len(step.indices), self.pieces.most or len(step.indices)) // 2)
            raise UserError(
                "a process is out of memory", hint=f"add --micro-batch {half}: the step is the same"
            ) from None


SETS = 2  # of images of a batch that a loss encodes at once, at most: attacked and clean ones
SPARE = 0.9  # of what is free
GIB = 2**30


def recomputes(plan: Plan, conduct: Conduct, accelerator: Accelerator) -> bool:
    """As it is asked for; else by the first process's estimate, which it tells where memory would not suffice."""
    if conduct.recompute:
        return True
    processes = accelerator.num_processes
    own = math.ceil(min(plan.spec.batch_size, len(plan.indices)) / processes)
    images = min(SETS * own, conduct.micro_batch or SETS * own)
    parts = processes if conduct.divided else 1
    found = estimated(plan.victim, images, side=plan.dataset.info.pixel_size, parts=parts, device=accelerator.device)
    if found and accelerator.is_main_process:
        say(f"a step would take {found}: what lies inside the blocks of a tower is computed twice (--recompute)")
    (decided,) = broadcast_object_list([bool(found)])
    return bool(decided)


def estimated(
    victim: Victim, images: int, *, side: int, parts: int, device: torch.device, free: float | None = None
) -> str:
    """About how much memory a step on so many images takes, and what is free, in words where that does not suffice."""
    try:
        takes = bytes_of_step(victim, images, side=side, parts=parts)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return "more memory than there is"
    free = free_memory(device) if free is None else free
    if takes <= SPARE * free:
        return ""
    return f"about {takes / GIB:.1f} GiB of memory, where {free / GIB:.1f} are free"
