"""An epoch that a signal ends (Ctrl-C, a preemption, the end of a job's time): its state is saved, so that the same
command goes on after the last step that was taken. A kill without a signal goes back to the last whole epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch.optim import Optimizer

from ..models.epochs import drop_interrupted, resume_interrupted, save_interrupted
from ..terminal.console import say
from ..terminal.signals import Stopped
from .clock import Clock, Losses
from .training_plan import Plan


@dataclass(frozen=True)
class Reached:
    """How far an epoch had come: the losses of the steps that were taken, how long these took, and waited."""

    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def steps(self) -> int:
        return len(self.losses)


def load_interrupted(folder: Path, plan: Plan, optimizer: Optimizer, *, epoch: int) -> Reached:
    """Load the state that `epoch` (from 1) of the run in `folder` was interrupted in; how far it had come."""
    found = resume_interrupted(folder, plan.victim, optimizer, epoch=epoch)
    if found is None:
        drop_interrupted(folder)  # of another epoch, or damaged
        return Reached()
    return Reached(tuple(found["losses"]), found["seconds"], found["waited"])


@contextmanager
def saved_when_interrupted(
    folder: Path, plan: Plan, optimizer: Optimizer, losses: Losses, clock: Clock, *, epoch: int, divided: bool = False
) -> Iterator[None]:
    """Save the state of `epoch` (from 1) where a signal ends the block, in which it is trained and saved; drop it where
    none does. Weights that are `divided` are not saved: that takes all processes, which hear it at different steps."""
    try:
        yield
    except Stopped:
        if divided:
            goes_on = f"goes on after epoch {epoch - 1}" if epoch > 1 else "begins again"
            say(f"with FSDP each process has a part of the state, which is saved at the end of an epoch: it {goes_on}")
        elif taken := losses.all():
            clock.stop()
            about = {"run": plan.run, "losses": taken, "seconds": clock.seconds, "waited": clock.waited}
            try:
                save_interrupted(folder, plan.victim, optimizer, epoch=epoch, spec=about)
                say(f"saved after step {len(taken)} of epoch {epoch}: the same command goes on there")
            except OSError as error:
                say(f"the state of epoch {epoch} could not be saved ({error.strerror}): it begins again")
        raise
    drop_interrupted(folder)
