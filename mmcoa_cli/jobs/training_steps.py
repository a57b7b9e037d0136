"""The steps of a training run: an attacked batch, a loss, a step of the optimizer; a checkpoint at every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from store.index import Index
from store.schema import Epoch

from .. import __version__
from ..datasets.pixels import load_pixels, to_unit
from ..defences.batch import Batch, InPieces
from ..defences.optimizers import make_optimizer, make_schedule
from ..defences.step import Module, Original, Step
from ..models.epochs import drop_earlier, epochs_in, number_of, resume, save_epoch
from ..models.finite import require_finite_weights, smaller_lr
from ..models.runs import now
from ..models.victim import Victim
from ..settings import Home, require_space
from ..terminal.console import Task, progress, say
from ..terminal.signals import held
from .batches import Fed, Stages, feed_of, slices
from .clock import Clock, Losses, Taken, peak_memory, waits_told
from .evaluation_spec import EvaluationSpec
from .fsdp import divide, of_divided, require_divisible
from .interrupted_epoch import Reached, load_interrupted, saved_when_interrupted
from .job import Conduct
from .offline import OfflineFeatures
from .tracking import Log, tracker
from .training_plan import Ints, Plan
from .updates import Update, recomputes
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
    spec, conduct, quiet = plan.spec, conduct or Conduct(), not accelerator.is_main_process
    update, plain, done, before = _begun(plan, home, accelerator, conduct=conduct, keep=keep)
    original = original_of(plan, home, accelerator)
    watch = Watch(plan, watched, home, accelerator, every=conduct.evaluate_every if watched else None)
    an_epoch, folder = math.ceil(len(plan.indices) / spec.batch_size), home.checkpoints / plan.run
    title, total = f"{plan.row.name} on {spec.dataset}", spec.epochs * len(plan.indices)
    seen, first = done * len(plan.indices) + before.steps * spec.batch_size, done * an_epoch + before.steps
    seconds = waited = 0.0
    with (
        tracker(plan, home, "" if quiet or done == spec.epochs else conduct.track, first=first) as log,
        feed_of(plan, accelerator, first=done, after=before.steps, workers=conduct.workers) as feed,
        progress(title, total=total, unit="images", done=seen, quiet=quiet) as task,
    ):
        for epoch in range(done, spec.epochs):
            begun = before if epoch == done else Reached()
            clock = Clock(plan.victim.device, seconds=begun.seconds, waited=begun.waited)
            tell = partial(_tell, task, log, f"epoch {epoch + 1}/{spec.epochs}")
            losses = Losses(clock, tell, lr=spec.lr, before=begun.losses)
            fed = Fed(feed, clock, first=(epoch - done) * an_epoch - before.steps)
            saving = partial(
                saved_when_interrupted, folder, plan, plain, losses, clock, epoch=epoch + 1, divided=conduct.divided
            )
            with nullcontext() if quiet else saving():
                every = steps(
                    plan, update.module, accelerator, original=original, epoch=epoch, fed=fed, after=begun.steps
                )
                _take(every, update, losses, clock)
                seconds, waited = seconds + clock.seconds, waited + clock.waited
                row = _row(plan, clock, number=epoch + 1, loss=losses.mean, processes=accelerator.num_processes)
                _save(row, plan, home, plain, keep=keep, writes=not quiet, divided=conduct.divided)
            accelerator.wait_for_everyone()
            log.epoch(epoch + 1, loss=losses.mean, seconds=clock.seconds, tested=watch.after(epoch + 1))
    if not quiet and (told := waits_told(seconds, waited)):
        say(told)


def _take(every: Iterator[Step], update: Update, losses: Losses, clock: Clock) -> None:
    """Take the steps; `losses` has what came of each, and `clock` what they took."""
    for step in every:
        update(step, partial(losses.add, images=len(step.labels), lr=update.rate))
    with held():  # or a state that is saved would lack the losses of steps that were taken
        losses.flush()
    clock.stop()


def _tell(task: Task, log: Log, epoch: str, taken: Taken) -> None:
    task.advance(taken.images, note=f"{epoch}, loss {taken.loss:.3f}")
    log.step(taken)


def _begun(
    plan: Plan, home: Home, accelerator: Accelerator, *, conduct: Conduct, keep: int | None
) -> tuple[Update, Optimizer, int, Reached]:
    """What takes the steps, the optimizer in it, the number of the epoch that the run goes on after, and how far the
    next one had come; the victim is as that left it, on the device, divided where that is asked for."""
    spec, victim, folder = plan.spec, plan.victim, home.checkpoints / plan.run
    make = partial(make_optimizer, spec.optimization, fast=spec.fast)
    if not conduct.divided:  # else a device may not hold all of it
        victim = victim.to(accelerator.device).use_precision(spec.precision)
    victim.freeze(spec.tune)
    plain = make(_trained(victim))
    done = resume(folder, victim, plain, epochs=spec.epochs)
    before = load_interrupted(folder, plan, plain, epoch=done + 1)
    if accelerator.is_main_process:
        Stages.of(plan).tell()
        _tell_what_is_lost(plan.run, folder, done)
        left = spec.epochs - done
        _require_space(plan, home, _trained(victim), epochs=min(left, keep + 1) if keep else left)
    if spec.fast:
        victim.clip.compile_where_it_pays(quiet=not accelerator.is_main_process)
    if recomputes(plan, conduct, accelerator):
        victim.clip.model.set_grad_checkpointing(True)
    encoders = InPieces(victim, conduct.micro_batch)
    if conduct.divided:
        require_divisible(spec)
        divide(encoders, accelerator)
        victim = victim.to(accelerator.device).use_precision(spec.precision)
        plain = of_divided(plain, _trained(victim), make)
    an_epoch = math.ceil(len(plan.indices) / spec.batch_size)
    taken = done * an_epoch + before.steps
    schedule = make_schedule(spec.optimization, plain, taken=taken, epochs=spec.epochs, an_epoch=an_epoch)
    return Update.prepared(plan, encoders, plain, schedule, accelerator, divided=conduct.divided), plain, done, before


def _trained(victim: Victim) -> list[nn.Parameter]:
    return [weight for weight in victim.parameters() if weight.requires_grad]


def steps(
    plan: Plan,
    module: Module,
    accelerator: Accelerator,
    *,
    original: Original,
    epoch: int,
    fed: Fed | None = None,
    after: int = 0,
) -> Iterator[Step]:
    """The epoch's batches `after` so many, each cut into one slice a process; `fed` has the images, which are read as
    they are needed where that is None."""
    labels, device, stages = plan.dataset.labels("train"), plan.victim.device, Stages.of(plan)
    first = epoch * math.ceil(len(plan.indices) / plan.spec.batch_size)
    for number, (batch, own, sizes) in enumerate(slices(plan, accelerator, epoch, after=after), after):
        stage = stages.at(first + number)
        plan.victim.clip.see(stage.side)
        yield Step(
            plan.victim,
            module,
            Batch(_tensor(labels[own], device), _tensor(labels[batch], device), sizes, batch),
            images=partial(_images, plan, own, fed, number),
            indices=own.tolist(),
            class_prompts=plan.prompts,
            attacks=stages.attacks(stage),
            original=original,
            backward=accelerator.backward,
            seed=plan.spec.seed,
            epoch=epoch + 1,
            settings=plan.spec.settings,
            compat=plan.spec.compat,
        )
    plan.victim.clip.see()  # whole images: it may be tested now


def original_of(plan: Plan, home: Home, accelerator: Accelerator) -> Original:
    """The model that the run starts from, with what it makes of its training images."""

    def load() -> Victim:
        return plan.load_original().to(accelerator.device).use_precision(plan.spec.precision)

    return Original(load, plan.prompts, OfflineFeatures(plan, home, accelerator) if plan.row.offline else None)


def _images(plan: Plan, numbers: Ints, fed: Fed | None, number: int) -> Tensor:
    pixels = fed(number, numbers) if fed else load_pixels(plan.dataset, "train", numbers)
    return to_unit(pixels, plan.victim.device)


def _save(
    row: Epoch, plan: Plan, home: Home, optimizer: Optimizer, *, keep: int | None, writes: bool, divided: bool
) -> None:
    """Put an epoch into the index and the store. One process `writes`; others take part where weights are `divided`.

    Raises UserError, in each of them, where a weight is no finite number.
    """
    what, victim = f"run {plan.run} after epoch {row.epoch}", plan.victim
    module = victim.clip.model if victim.clip is victim else victim  # by the names of a checkpoint
    require_finite_weights(module, what, hint=smaller_lr(plan.spec.lr))
    folder, about = home.checkpoints / plan.run, {"run": plan.run, "loss": row.loss, **plan.spec.document()}
    if writes:
        Index(home.database_url).save_epoch(row)  # first: no epoch that is stored lacks its row
    if writes or divided:
        save_epoch(folder, victim, optimizer, epoch=row.epoch, spec=about, writes=writes)
    if keep and writes:
        drop_earlier(folder, epoch=row.epoch, keep=keep)


def _row(plan: Plan, clock: Clock, *, number: int, loss: float, processes: int) -> Epoch:
    return Epoch(
        run_id=plan.run,
        epoch=number,
        loss=loss,
        images=len(plan.indices),
        seconds=round(clock.seconds, 3),
        peak_memory=peak_memory(clock.device),
        device=clock.hardware,
        processes=processes,
        precision=plan.spec.precision,
        version=__version__,
        created_at=now(),
        waited=round(clock.waited, 3),
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


def _tensor(labels: np.ndarray[Any, np.dtype[np.int64]], device: torch.device) -> Tensor:
    return torch.from_numpy(labels).to(device)
