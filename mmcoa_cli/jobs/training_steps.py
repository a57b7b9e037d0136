"""The steps of a training run: an attacked batch, a loss, a step of the optimizer; a checkpoint at every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from store.index import Index
from store.schema import Epoch

from .. import __version__
from ..datasets.pixels import load_pixels, to_unit
from ..defences.batch import Batch
from ..defences.optimizers import make_optimizer, make_schedule
from ..defences.step import Module, Original, Step
from ..models.epochs import drop_earlier, epochs_in, number_of, resume, save_epoch
from ..models.finite import require_finite_loss, require_finite_weights, smaller_lr
from ..models.runs import now
from ..models.victim import Victim
from ..randomness import shuffled
from ..settings import Home, require_space
from ..terminal.console import progress, say
from .clock import Clock
from .conduct import Conduct
from .evaluation_spec import EvaluationSpec
from .offline import OfflineFeatures
from .tracking import tracker
from .training_plan import Plan
from .updates import Update
from .watching import Watch


def train_epochs(
    plan: Plan,
    home: Home,
    accelerator: Accelerator,
    *,
    keep: int | None = None,
    conduct: Conduct | None = None,
    watched: EvaluationSpec | None = None,
) -> None:
    """Every epoch that is not there yet, from the last whole one on. Of all epochs the last `keep` stay.

    `watched` is the test that is made after every so many epochs, where `conduct` asks for it.
    """
    accelerator.wait_for_everyone()  # the first process may have waited for another run of the same
    spec, conduct = plan.spec, conduct or Conduct()
    victim = plan.victim.to(accelerator.device).use_precision(spec.precision)
    victim.freeze(spec.tune)
    weights = [weight for weight in victim.parameters() if weight.requires_grad]
    plain = make_optimizer(spec.optimization, weights)
    folder = home.checkpoints / plan.run
    done = resume(folder, victim, plain, epochs=spec.epochs)
    an_epoch = math.ceil(len(plan.indices) / spec.batch_size)
    schedule = make_schedule(spec.optimization, plain, done=done, epochs=spec.epochs, an_epoch=an_epoch)
    if accelerator.is_main_process:
        _tell_what_is_lost(plan.run, folder, done)
        left = spec.epochs - done
        _require_space(plan, home, weights, epochs=min(left, keep + 1) if keep else left)
    update = Update.prepared(plan, plain, schedule, accelerator, micro_batch=conduct.micro_batch)
    original = original_of(plan, home, accelerator)
    watch = Watch(plan, watched, home, accelerator, every=conduct.evaluate_every if watched else None)
    title, total, seen = f"{plan.row.name} on {spec.dataset}", spec.epochs * len(plan.indices), done * len(plan.indices)
    quiet = not accelerator.is_main_process
    with (
        tracker(plan, home, "" if quiet or done == spec.epochs else conduct.track, first=done * an_epoch) as log,
        progress(title, total=total, unit="images", done=seen, quiet=quiet) as task,
    ):
        for epoch in range(done, spec.epochs):
            losses, clock = [], Clock(victim.device)
            for step in steps(plan, update.module, accelerator, original=original, epoch=epoch, clock=clock):
                losses.append(require_finite_loss(update(step), lr=spec.lr))
                task.advance(len(step.labels), note=f"epoch {epoch + 1}/{spec.epochs}, loss {losses[-1]:.3f}")
                log.step(clock.lap(), images=len(step.labels), loss=losses[-1], lr=float(schedule.get_last_lr()[0]))
            clock.stop()
            what = f"run {plan.run} after epoch {epoch + 1}"
            require_finite_weights(_module(victim), what, hint=smaller_lr(spec.lr))
            if accelerator.is_main_process:
                row = _row(plan, clock, number=epoch + 1, losses=losses, processes=accelerator.num_processes)
                _save(row, plan, home, plain, keep=keep)
            accelerator.wait_for_everyone()
            log.epoch(epoch + 1, loss=float(np.mean(losses)), seconds=clock.seconds, tested=watch.after(epoch + 1))


def steps(
    plan: Plan, module: Module, accelerator: Accelerator, *, original: Original, epoch: int, clock: Clock | None = None
) -> Iterator[Step]:
    """The epoch's batches in the order of (seed, epoch), each cut into one slice a process; `clock` counts the time in
    which images are waited for."""
    order = shuffled(plan.indices, plan.spec.seed, epoch=epoch + 1)
    labels, device = plan.dataset.labels("train"), plan.victim.device
    for start in range(0, len(order), plan.spec.batch_size):
        batch = order[start : start + plan.spec.batch_size]
        slices = np.array_split(batch, accelerator.num_processes)
        own = slices[accelerator.process_index]
        if len(own) == 0:
            own = batch[:1]  # fewer images than processes: this one computes an image of which nothing is gathered
        sizes = [len(part) for part in slices]
        yield Step(
            plan.victim,
            module,
            Batch(_tensor(labels[own], device), _tensor(labels[batch], device), sizes, batch),
            images=partial(_images, plan, own, clock),
            indices=own.tolist(),
            class_prompts=plan.prompts,
            attacks=plan.attacks,
            original=original,
            backward=accelerator.backward,
            seed=plan.spec.seed,
            epoch=epoch + 1,
            settings=plan.spec.settings,
            compat=plan.spec.compat,
        )


def original_of(plan: Plan, home: Home, accelerator: Accelerator) -> Original:
    """The model that the run starts from, with what it makes of its training images."""

    def load() -> Victim:
        return plan.load_original().to(accelerator.device).use_precision(plan.spec.precision)

    return Original(load, plan.prompts, OfflineFeatures(plan, home, accelerator) if plan.row.offline else None)


def _images(plan: Plan, numbers: npt.NDArray[np.int64], clock: Clock | None) -> Tensor:
    with clock.waiting() if clock else nullcontext():
        return to_unit(load_pixels(plan.dataset, "train", numbers), plan.victim.device)


def _save(row: Epoch, plan: Plan, home: Home, optimizer: Optimizer, *, keep: int | None) -> None:
    folder, about = home.checkpoints / plan.run, {"run": plan.run, "loss": row.loss, **plan.spec.document()}
    Index(home.database_url).save_epoch(row)  # first: no epoch that is stored lacks its row
    save_epoch(folder, plan.victim, optimizer, epoch=row.epoch, spec=about)
    if keep:
        drop_earlier(folder, keep=keep)


def _row(plan: Plan, clock: Clock, *, number: int, losses: list[float], processes: int) -> Epoch:
    return Epoch(
        run_id=plan.run,
        epoch=number,
        loss=float(np.mean(losses)),
        images=len(plan.indices),
        seconds=round(clock.seconds, 3),
        peak_memory=clock.peak_memory,
        device=clock.hardware,
        processes=processes,
        precision=plan.spec.precision,
        version=__version__,
        created_at=now(),
    )


def _require_space(plan: Plan, home: Home, trained: list[nn.Parameter], *, epochs: int) -> None:
    """Raises UserError unless the disk takes the weights of the epochs to come, and the optimizer's moments twice."""
    stored = sum(tensor.nbytes for tensor in plan.victim.tensors().values())
    home.checkpoints.mkdir(parents=True, exist_ok=True)
    if epochs:
        moments = 4 * sum(weight.nbytes for weight in trained)
        require_space(epochs * stored + moments, folder=home.checkpoints, name=f"run {plan.run}")


def _tell_what_is_lost(run: str, folder: Path, done: int) -> None:
    lost = [str(number_of(epoch)) for epoch in epochs_in(folder) if number_of(epoch) > done]
    if lost:
        several = "s" if len(lost) > 1 else ""
        reason = "damaged, or without the optimizer's state"
        goes_on = f"goes on after epoch {done}" if done else "begins again"
        say(f"epoch{several} {', '.join(lost)} of run {run}: {reason}; training {goes_on}, to the same weights")


def _module(victim: Victim) -> nn.Module:
    """What has the weights, by the names that they have in a checkpoint."""
    return victim.clip.model if victim.clip is victim else victim  # type: ignore[return-value]


def _tensor(labels: np.ndarray[Any, np.dtype[np.int64]], device: torch.device) -> Tensor:
    return torch.from_numpy(labels).to(device)
