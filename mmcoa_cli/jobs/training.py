"""Training runs: an attacked batch, a loss, an Adam step; a checkpoint at every epoch; resume at the next.

A run's id names its method, data and a hash of everything that decides its weights, so the same command finds the same
run again: finished, it is not repeated; interrupted, it goes on at the last whole epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from store.datasets import Dataset
from store.files import lock, replacing
from store.index import Index
from store.keys import key_of
from store.schema import Run

from .. import catalog
from ..attacks.bert_attack import TextTarget, prepare
from ..attacks.image import IMAGE
from ..attacks.settings import BertAttackSettings
from ..attacks.text import TEXT
from ..datasets.library import open_classes
from ..datasets.pixels import load_pixels, to_unit
from ..datasets.prompts import class_prompts
from ..datasets.sampling import few_shot
from ..defences import METHODS
from ..defences.step import Step
from ..models.clip import Clip
from ..models.epochs import epochs_in, epochs_of, last_epoch, number_of, resume, save_epoch, take_over
from ..models.finite import require_finite_loss, require_finite_weights, smaller_lr
from ..models.present import data_key
from ..models.runs import now, zero_shot_run
from ..models.subjects import load_mlm, load_model, origin_of
from ..models.token_rows import cut_by, require_distinct_prompts
from ..randomness import shuffled
from ..settings import Home, require_space
from ..terminal.console import progress, say
from .continuing import require_continuable
from .specs import TrainSpec

VERSION = 2  # part of a run's id: raise it when the same specification would give other weights


@dataclass(frozen=True)
class Plan:
    """A run before its first step: its id, and all that the steps need."""

    run: str
    spec: TrainSpec
    row: catalog.MethodRow
    clip: Clip
    dataset: Dataset
    indices: np.ndarray[Any, np.dtype[np.int64]]
    prompts: list[str]
    text_target: TextTarget | None
    identity: dict[str, Any]

    @property
    def made_of(self) -> dict[str, str]:
        """What the index says of the run beside its specification: the part of the data, the model it starts from,
        and the `recipe`, which runs have in common that differ in nothing but their seed."""
        recipe = {name: part for name, part in self.identity.items() if name not in ("seed", "indices")}
        return {
            "part": self.dataset.info.part("train"),
            "base": self.identity["weights"],
            "model_sha256": self.clip.origin.sha256,
            "data_key": data_key(self.dataset.info.checksum, self.prompts),
            "mlm_weights": self.identity["text_attack"][2] if self.identity["text_attack"] else "",
            "recipe": key_of(recipe),
        }


def train(spec: TrainSpec, home: Home, accelerator: Accelerator, *, resumed: str = "") -> Run:
    """Train (or finish, or find) the run that `spec` describes. Returns its row of the index.

    `resumed` is the run to go on with: `spec` is its own, perhaps with more epochs, which make another run. Raises
    UserError for names that are not there, options that do not fit, and a run that cannot be gone on with. A method
    that trains nothing gives the zero-shot run of the model.
    """
    row = catalog.lookup(catalog.methods(), spec.method, "method")
    index = Index(home.database_url)
    if not row.loss:
        return zero_shot_run(spec.model, home, index)
    if resumed and (found := _decided(_finished(resumed, spec, home, index))):  # whatever its model is by now
        return _told(found, accelerator)
    plan = make_plan(spec, home)
    if resumed:
        require_continuable(resumed, plan.run, plan.identity, home)
    if accelerator.is_main_process:
        say(f"run {plan.run}")
    if found := _decided(_finished(plan.run, spec, home, index)):
        return _told(found, accelerator)
    run = _run_row(plan)
    if not accelerator.is_main_process:
        _train_epochs(plan, home, accelerator)
        return run
    with lock(home.runs / plan.run, what=f"run {plan.run}"):
        index.save_run(run)
        _write_run(plan, home)
        if resumed != plan.run and resumed:
            _take_over(resumed, plan, home)
        _train_epochs(plan, home, accelerator)
        run = replace(run, status="complete", weights=plan.clip.digest(), finished_at=now())
        index.save_run(run)
    return run


def _decided(found: Run | None) -> Run | None:
    """What the first process found, for all: another launch may finish this very run at any moment."""
    decided: list[Run | None] = broadcast_object_list([found])
    return decided[0]


def _told(run: Run, accelerator: Accelerator) -> Run:
    if accelerator.is_main_process:
        say(f"run {run.id} is in the store already")
    return run


def _finished(run_id: str, spec: TrainSpec, home: Home, index: Index) -> Run | None:
    """The run of this id, where it has all of the epochs of `spec` and the last of them is whole."""
    run = index.run(run_id)
    if run is None or run.status != "complete" or epochs_of(run) != spec.epochs:
        return None
    return run if last_epoch(home.checkpoints / run_id, spec.epochs) else None


def _take_over(resumed: str, plan: Plan, home: Home) -> None:
    """Begin with the epochs of a run that differs in its number of epochs alone: the learning rate is constant, so
    they are bit for bit those that this one would compute."""
    target = home.checkpoints / plan.run
    if epochs_in(target):
        return
    with lock(home.runs / resumed, what=f"run {resumed}"):
        spec = {"run": plan.run, **asdict(plan.spec)}
        done = take_over(home.checkpoints / resumed, target, spec=spec)
    say(f"going on after epoch {done} of run {resumed}" if done else f"run {resumed} has no epoch to go on from")


def make_plan(spec: TrainSpec, home: Home) -> Plan:
    """Load what `spec` names, draw its images, and give the run its id."""
    row = catalog.lookup(catalog.methods(), spec.method, "method")
    dataset = open_classes(spec.dataset, home)
    clip = load_model(spec.model, home)
    indices = few_shot(dataset.labels("train"), spec.shots, seed=spec.seed)
    prompts = class_prompts(dataset.info.class_names, dataset.info.template)
    require_distinct_prompts(clip, prompts, dataset.info.class_names)
    attack = BertAttackSettings(compat=spec.compat)
    mlm = load_mlm(spec.mlm, home) if "text" in row.attacks else None
    names, is_cut = dataset.info.class_names, cut_by(clip)
    target = prepare(prompts, names, mlm=mlm, settings=attack, is_cut=is_cut) if mlm else None
    identity = {
        "version": VERSION,
        "method": row.name,
        "pairs": [spec.contrast, spec.image_weight, spec.text_weight] if mlm else None,
        "tune": spec.tune,
        "optimizer": {"lr": spec.lr, "epochs": spec.epochs, "batch_size": spec.batch_size},
        "image_attack": [IMAGE.version, asdict(spec.image_attack)] if "image" in row.attacks else None,
        "text_attack": [TEXT.version, asdict(attack), mlm.digest()] if mlm else None,
        "compat": spec.compat,
        "weights": clip.digest(),
        "data": [dataset.info.checksum, dataset.info.pixel_size, dataset.info.resize],
        "prompts": prompts,
        "indices": indices.tolist(),
        "seed": spec.seed,
        "precision": spec.precision,
    }
    run = f"{spec.run_name}-{key_of(identity)[:8]}"
    return Plan(run, spec, row, clip, dataset, indices, prompts, target, identity)


def _train_epochs(plan: Plan, home: Home, accelerator: Accelerator) -> None:
    accelerator.wait_for_everyone()  # the first process may have waited for another run of the same
    clip = plan.clip.to(accelerator.device).use_precision(plan.spec.precision)
    _freeze(clip, plan.spec.tune)
    weights = [weight for weight in clip.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=plan.spec.lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    folder = home.checkpoints / plan.run
    done = resume(folder, clip, optimizer, epochs=plan.spec.epochs)
    encoder, optimizer = accelerator.prepare(clip, optimizer)
    total = plan.spec.epochs * len(plan.indices)
    quiet = not accelerator.is_main_process
    if not quiet:
        _tell_what_is_lost(plan.run, folder, done)
        _require_space(plan, home, epochs=plan.spec.epochs - done)
    title, seen = f"{plan.row.name} on {plan.spec.dataset}", done * len(plan.indices)
    with progress(title, total=total, unit="images", done=seen, quiet=quiet) as task:
        for epoch in range(done, plan.spec.epochs):
            losses = []
            for step in _steps(plan, clip, encoder, accelerator, epoch):
                optimizer.zero_grad()
                loss = METHODS[plan.row.loss](step)
                accelerator.backward(loss)
                optimizer.step()
                losses.append(require_finite_loss(loss.item(), lr=plan.spec.lr))
                task.advance(len(step.all_labels), note=f"epoch {epoch + 1}/{plan.spec.epochs}, loss {losses[-1]:.3f}")
            require_finite_weights(clip.model, f"run {plan.run} after epoch {epoch + 1}", hint=smaller_lr(plan.spec.lr))
            if accelerator.is_main_process:
                spec = {"run": plan.run, "loss": float(np.mean(losses)), **asdict(plan.spec)}
                save_epoch(folder, clip, optimizer, epoch=epoch + 1, spec=spec)
            accelerator.wait_for_everyone()


def _require_space(plan: Plan, home: Home, *, epochs: int) -> None:
    """Raises UserError unless the disk takes the weights of the epochs to come, and the optimizer's moments twice."""
    weights = sum(tensor.nbytes for tensor in plan.clip.state_dict().values())
    trained = sum(weight.nbytes for weight in plan.clip.parameters() if weight.requires_grad)
    home.checkpoints.mkdir(parents=True, exist_ok=True)
    if epochs:
        require_space(epochs * weights + 4 * trained, folder=home.checkpoints, name=f"run {plan.run}")


def _tell_what_is_lost(run: str, folder: Path, done: int) -> None:
    lost = [str(number_of(epoch)) for epoch in epochs_in(folder) if number_of(epoch) > done]
    if lost:
        several = "s" if len(lost) > 1 else ""
        reason = "damaged, or without the optimizer's state"
        goes_on = f"goes on after epoch {done}" if done else "begins again"
        say(f"epoch{several} {', '.join(lost)} of run {run}: {reason}; training {goes_on}, to the same weights")


def _steps(plan: Plan, clip: Clip, encoder: Any, accelerator: Accelerator, epoch: int) -> Iterator[Step]:
    """The epoch's batches in the order of (seed, epoch), each cut into one slice a process."""
    order = shuffled(plan.indices, plan.spec.seed, epoch=epoch + 1)
    labels = plan.dataset.labels("train")
    for start in range(0, len(order), plan.spec.batch_size):
        batch = order[start : start + plan.spec.batch_size]
        slices = np.array_split(batch, accelerator.num_processes)
        own = slices[accelerator.process_index]
        if len(own) == 0:
            own = batch[:1]  # fewer images than processes: this one computes an image of which nothing is gathered
        yield Step(
            model=clip,
            encoder=encoder,
            backward=accelerator.backward,
            images=to_unit(load_pixels(plan.dataset, "train", own), clip.device),
            indices=own.tolist(),
            labels=_tensor(labels[own], clip.device),
            all_labels=_tensor(labels[batch], clip.device),
            sizes=[len(part) for part in slices],
            class_prompts=plan.prompts,
            image_attack=plan.spec.image_attack,
            text_target=plan.text_target,
            seed=plan.spec.seed,
            epoch=epoch + 1,
            contrast=plan.spec.contrast,
            compat=plan.spec.compat,
            image_weight=plan.spec.image_weight,
            text_weight=plan.spec.text_weight,
        )


def _tensor(labels: np.ndarray[Any, np.dtype[np.int64]], device: torch.device) -> Tensor:
    return torch.from_numpy(labels).to(device)


def _freeze(clip: Clip, tune: str) -> None:
    """Leave only the weights that `tune` (both, image, text) names trainable."""
    for name, weight in clip.model.named_parameters():
        of_image_encoder = name.startswith("visual.")
        weight.requires_grad_(tune == "both" or of_image_encoder == (tune == "image"))


def _run_row(plan: Plan) -> Run:
    return Run(
        id=plan.run,
        kind="train",
        method=plan.row.name,
        model=plan.spec.model,
        model_origin=origin_of(plan.clip),
        weights=None,
        source=plan.spec.dataset,
        shots=plan.spec.shots,
        seed=plan.spec.seed,
        compat=plan.spec.compat,
        status="running",
        spec=json.dumps({**asdict(plan.spec), **plan.made_of}),
        created_at=now(),
        finished_at=None,
    )


def _write_run(plan: Plan, home: Home) -> None:
    """runs/RUN/run.json: the specification with the drawn images, for people and for `--resume`."""
    with replacing(home.runs / plan.run / "run.json") as path:
        path.write_text(json.dumps({"spec": asdict(plan.spec), "identity": plan.identity}, indent=1), encoding="utf8")
