"""Training runs: each is found, finished or begun, and has a row of the index.

A run's id names its method, data and a hash of everything that decides its weights, so the same command finds the same
run again: finished, it is not repeated; interrupted, it goes on at the last whole epoch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from store.checkpoints import drop_state
from store.files import discard, lock, replacing
from store.index import Index
from store.schema import Run

from .. import catalog
from ..models.epochs import epochs_of, has_kept, last_epoch, path_of, take_over, to_go_on_from
from ..models.runs import now, zero_shot_run
from ..models.wrapper_record import checkpoint_digest
from ..settings import Home
from ..terminal.console import say
from .continuing import require_continuable
from .evaluation_spec import EvaluationSpec
from .job import Conduct
from .training_plan import Plan, make_plan, run_row
from .training_spec import TrainSpec
from .training_steps import train_epochs


def train(
    spec: TrainSpec,
    home: Home,
    accelerator: Accelerator,
    *,
    resumed: str = "",
    keep: int | None = None,
    conduct: Conduct | None = None,
    watched: EvaluationSpec | None = None,
) -> Run:
    """Train (or finish, or find) the run that `spec` describes. Returns its row of the index. Of its epochs the last
    `keep` stay, all where that is None; of a complete run that keeps one, the optimizer's state goes. `conduct` says
    how it is watched, by the test `watched`.

    `resumed` is the run to go on with: `spec` is its own, perhaps with more epochs, which make another run. Raises
    UserError for names that are not there, options that do not fit, and a run that cannot be gone on with. A method
    that trains nothing gives the zero-shot run of the model.
    """
    row = catalog.lookup(catalog.methods(), spec.method, "method")
    index = Index(home.database_url)
    if not row.loss:
        wrapped = {"wrapper": row.wrapper, "settings": spec.wrapper_settings}
        return zero_shot_run(spec.model, home, index, method=row.name, **wrapped)
    if resumed and (found := _decided(_finished(resumed, spec, home, index, keep))):  # whatever its model is by now
        return _told(found, accelerator)
    plan = make_plan(spec, home, accelerator.device)
    if resumed:
        require_continuable(resumed, plan.run, plan.identity, home)
    if accelerator.is_main_process:
        say(f"run {plan.run}")
    if found := _decided(_finished(plan.run, spec, home, index, keep)):
        return _told(found, accelerator)
    run = run_row(plan)
    epochs = partial(train_epochs, plan, home, accelerator, keep=keep, conduct=conduct, watched=watched)
    if not accelerator.is_main_process:
        epochs()
        return run
    with lock(home.runs / plan.run, what=f"run {plan.run}"):
        run = _begin(run, plan, home, index, resumed=resumed, keep=keep)
        epochs()
        last = path_of(home.checkpoints / plan.run, spec.epochs)
        divided = conduct and conduct.divided  # of which this process alone has no digest
        weights = checkpoint_digest(last) if divided else plan.victim.digest()
        run = replace(run, status="complete", weights=weights, finished_at=now())
        index.save_run(run)
        if keep == 1:
            drop_state(last)
    return run


def _begin(run: Run, plan: Plan, home: Home, index: Index, *, resumed: str, keep: int | None) -> Run:
    """Have the run stand in the index and the store, with the epochs of the run that it goes on with. Returns its row,
    with the moment that it was begun at first."""
    known, folder = index.run(run.id), home.checkpoints / run.id
    if known and known.status == "complete" and not has_kept(folder, plan.spec.epochs, keep=keep):
        say(f"run {known.id} did not keep these epochs: it is trained again, to the same weights")
        discard(folder)
    elif known:
        run = replace(run, created_at=known.created_at)
    index.save_run(run)
    _write_run(plan, home)
    if plan.victim.note:
        say(plan.victim.note)
    if resumed != plan.run and resumed:
        _take_over(resumed, plan, home, index)
    return run


def _decided(found: Run | None) -> Run | None:
    """What the first process found, for all: another launch may finish this very run at any moment."""
    decided: list[Run | None] = broadcast_object_list([found])
    return decided[0]


def _told(run: Run, accelerator: Accelerator) -> Run:
    if accelerator.is_main_process:
        say(f"run {run.id} is in the store already")
    return run


def _finished(run_id: str, spec: TrainSpec, home: Home, index: Index, keep: int | None) -> Run | None:
    """The run of this id, where it has the last `keep` of the epochs of `spec` and the very last is whole."""
    run, folder = index.run(run_id), home.checkpoints / run_id
    if run is None or run.status != "complete" or epochs_of(run) != spec.epochs:
        return None
    return run if has_kept(folder, spec.epochs, keep=keep) and last_epoch(folder, spec.epochs) else None


def _take_over(resumed: str, plan: Plan, home: Home, index: Index) -> None:
    """Begin with the epochs of a run that differs in its number of epochs alone: the learning rate is constant, so
    they are bit for bit those that this one would compute."""
    source, target = home.checkpoints / resumed, home.checkpoints / plan.run
    if to_go_on_from(target):  # the last that is taken over, as it alone has the optimizer's state
        return
    with lock(home.runs / resumed, what=f"run {resumed}"):
        done = to_go_on_from(source)
        for epoch in index.epochs(resumed):
            if epoch.epoch <= done:
                index.save_epoch(replace(epoch, run_id=plan.run))  # first: no epoch that is stored lacks its row
        take_over(source, target, last=done, spec={"run": plan.run, **plan.spec.document()})
    lost = f"run {resumed} has no epoch to go on from: --keep all keeps the optimizer's state of a run that is complete"
    say(f"going on after epoch {done} of run {resumed}" if done else lost)


def _write_run(plan: Plan, home: Home) -> None:
    """runs/RUN/run.json: the specification with the drawn images, for people and for `--resume`."""
    with replacing(home.runs / plan.run / "run.json") as path:
        path.write_text(
            json.dumps({"spec": plan.spec.document(), "identity": plan.identity}, indent=1), encoding="utf8"
        )
