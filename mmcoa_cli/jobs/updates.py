"""Steps of the optimizer: a loss, its gradients, an update; in pieces where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from store.errors import UserError

from ..defences import Loss, loss_of
from ..defences.batch import InPieces
from ..defences.step import Module, Step
from ..terminal.errors import is_out_of_memory
from ..terminal.signals import held
from .pieces import Pieces
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
