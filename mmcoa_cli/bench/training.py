"""Training: a step of the optimizer on a batch that is attacked, read from the store; beside the released loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from store.datasets import Dataset

from ..attacks.bert_attack import prepare
from ..attacks.radii import radius
from ..datasets.pixels import load_pixels, to_unit
from ..defences.batch import InPieces
from ..defences.optimizers import make_optimizer, make_schedule
from ..jobs.training_plan import Plan
from ..jobs.training_spec import TrainSpec
from ..jobs.training_steps import original_of, steps
from ..jobs.updates import Update
from ..models.token_rows import cut_by
from .bench import SPLIT, Bench
from .floor import tokens_attacked, tokens_of
from .image import as_released
from .race import OURS, RELEASE, Entrant, Race
from .release import BertAttack, attack_pgd, mmcoa_loss, optimizer_of, tecoa_loss

BATCHES = {"cpu": 1}  # in a round; several where a batch takes a moment


def races(bench: Bench) -> Iterator[Race]:
    """A step of each method, and the text attack in the step of the last."""
    dataset, accelerator = dataset_of(bench), Accelerator(cpu=bench.device.type == "cpu")
    sized, side = bench.sized, bench.clip.image_size
    of = f"{sized.training_batch_size} images of {side} pixels, {bench.few} classes"
    steps_of_pgd = f"{sized.training_steps} step{'s' if sized.training_steps > 1 else ''} of PGD"
    plain = ready(optimizer_of(bench.release.model, lr=0.0))
    for method, (loop, flops_of) in METHODS.items():
        plan = plan_of(bench, method, dataset)
        update = update_of(plan, accelerator)
        images, flops = float(len(plan.indices)), _of_attack(bench) + flops_of(bench)
        yield Race(
            "train", f"a step of {method}, {of}, {steps_of_pgd}", "image",
            [
                Entrant(OURS, partial(_epoch, bench, plan, update, accelerator), images),
                bench.machine.products(flops),
                Entrant(RELEASE, partial(_released, bench, plan, plain, loop), images),
            ],
            flops=flops, warm=bench.device.type != "cpu",
        )  # fmt: skip
    yield _of_texts(bench, plan, update, accelerator, f"the text attack of that step, {of}")


def _of_texts(bench: Bench, plan: Plan, update: Update, accelerator: Accelerator, work: str) -> Race:
    """On the prompts of the classes of a batch; told by the image, as the step is."""
    size = plan.spec.batch_size
    own = [plan.prompts[k] for k in range(min(size, bench.few))]
    attack = BertAttack(bench.mlm.model, bench.mlm.tokenizer)
    flops = bench.work.token * tokens_attacked(bench.clip, own) / size

    def ours(number: int) -> None:
        original = original_of(plan, bench.home, accelerator)
        step = next(iter(steps(plan, update.module, accelerator, original=original, epoch=number + 1)))
        step.adv_prompts([*range(len(own))])

    def released(number: int) -> None:
        with as_released():
            attack.attack(bench.release, [own[place % len(own)] for place in range(size)])

    entrants = [Entrant(OURS, ours, size), bench.machine.products(flops), Entrant(RELEASE, released, size)]
    return Race("train", work, "image", entrants, flops=flops)


def plan_of(bench: Bench, method: str, dataset: Dataset) -> Plan:
    """A run as `mmcoa train` plans it, of the models and the images in hand."""
    options = {"steps": bench.sized.training_steps}
    spec = TrainSpec(
        method, "noise", batch_size=bench.sized.training_batch_size, precision=bench.asked.precision, options=options
    )
    names, prompts = bench.names(bench.few), bench.prompts(bench.few)
    target = None
    if "text" in spec.row.attacks:
        target = prepare(prompts, names, mlm=bench.mlm, settings=spec.text_attack, is_cut=cut_by(bench.clip))
    indices = np.arange(dataset.info.splits[SPLIT], dtype=np.int64)
    return Plan(method, spec, bench.clip, lambda: bench.clip, dataset, prompts, indices, target, "", {})


def update_of(plan: Plan, accelerator: Accelerator) -> Update:
    """Steps that move no weight: their rate is 0, so that every round has the same weights."""
    plan.victim.clip.freeze(plan.spec.tune)
    row = replace(plan.spec.optimization, lr=0.0)
    optimizer = ready(make_optimizer(row, list(plan.victim.clip.parameters())))
    schedule = make_schedule(row, optimizer, taken=0, epochs=1000, an_epoch=len(plan.indices))
    return Update.prepared(plan, InPieces(plan.victim), optimizer, schedule, accelerator)


def ready(optimizer: Optimizer) -> Optimizer:
    """The optimizer with its moments, which the first step makes."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def _epoch(bench: Bench, plan: Plan, update: Update, accelerator: Accelerator, number: int) -> None:
    original = original_of(plan, bench.home, accelerator)
    for step in steps(plan, update.module, accelerator, original=original, epoch=number + 1):
        update(step, lambda loss: None)
    update.optimizer.zero_grad()


def _released(bench: Bench, plan: Plan, optimizer: Optimizer, loop: Loop, number: int) -> None:
    """The same images by the released loop."""
    order = np.random.default_rng(number + 1).permutation(plan.indices)
    with as_released():
        for start in range(0, len(order), plan.spec.batch_size):
            batch = order[start : start + plan.spec.batch_size]
            x = to_unit(load_pixels(plan.dataset, SPLIT, batch), bench.device)
            target = torch.from_numpy(plan.dataset.labels(SPLIT)[batch]).to(bench.device)
            optimizer.zero_grad()
            loop(bench, plan, x, target).backward()
            optimizer.step()
    optimizer.zero_grad()


Loop = Callable[[Bench, Plan, torch.Tensor, torch.Tensor], torch.Tensor]


def released_images(
    bench: Bench, plan: Plan, x: torch.Tensor, target: torch.Tensor, **start: torch.Tensor
) -> torch.Tensor:
    settings = plan.spec.image_attack
    return attack_pgd(
        bench.release, x, target, bench.release.tokens(plan.prompts), alpha=settings.step_size, steps=settings.steps,
        eps=radius(settings.eps), **start,
    )  # fmt: skip


def _tecoa(bench: Bench, plan: Plan, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    x_adv = released_images(bench, plan, x, target)
    return tecoa_loss(bench.release, x_adv, target, bench.release.tokens(plan.prompts))


def _mmcoa(bench: Bench, plan: Plan, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    texts = [plan.prompts[label] for label in target.tolist()]
    x_adv = released_images(bench, plan, x, target)
    attack = BertAttack(bench.mlm.model, bench.mlm.tokenizer)
    return mmcoa_loss(bench.release, x, x_adv, texts, attack.attack(bench.release, texts))


def _of_attack(bench: Bench) -> float:
    """Operations of an image, at the least: PGD to the pixels, for which the prompts are encoded once."""
    sized = bench.sized
    texts = tokens_of(bench.clip, bench.prompts(bench.few)) / sized.training_batch_size
    return 2 * sized.training_steps * bench.work.image + bench.work.token * texts


def _of_tecoa(bench: Bench) -> float:
    """Forward, and backward to the weights, of the attacked image and of all prompts."""
    texts = tokens_of(bench.clip, bench.prompts(bench.few)) / bench.sized.training_batch_size
    return 3 * bench.work.image + 3 * bench.work.token * texts


def _of_mmcoa(bench: Bench) -> float:
    """The same of both images and of the batch's own prompts, clean and attacked, with the attack of these."""
    size = bench.sized.training_batch_size
    own = bench.prompts(bench.few)[: min(size, bench.few)]
    texts = (3 * 2 * tokens_of(bench.clip, own) + tokens_attacked(bench.clip, own)) / size
    return 3 * 2 * bench.work.image + bench.work.token * texts


METHODS: dict[str, tuple[Loop, Callable[[Bench], float]]] = {
    "tecoa": (_tecoa, _of_tecoa),
    "mmcoa": (_mmcoa, _of_mmcoa),
}


def dataset_of(bench: Bench) -> Dataset:
    """As many images as a round takes, in a file as the store has it."""
    side, number = bench.clip.image_size, bench.sized.training_batch_size * BATCHES.get(bench.device.type, 4)
    return bench.dataset(list(bench.pixels(number)), bench.names(bench.few), side=side, resize=None, image_size=side)
