"""The image attack: a step of PGD, beside the released loop and the libraries that have the same attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from .. import attacks, tasks
from ..attacks.base import Batch, settings_of
from ..attacks.image import IMAGE
from ..attacks.radii import radius
from ..attacks.settings import PgdSettings
from ..datasets.pixels import to_unit
from ..models.clip import Clip
from .bench import Bench
from .peers import PEERS, Module
from .race import FAST, OURS, RELEASE, Entrant, Race
from .release import attack_pgd


def races(bench: Bench) -> Iterator[Race]:
    """A step of PGD."""
    sized, side = bench.sized, bench.clip.image_size
    settings = settings_of(IMAGE, {"steps": sized.steps})
    images = to_unit(bench.pixels(sized.batch_size), bench.device)
    labels, prompts = bench.labels(sized.batch_size), bench.prompts(bench.few)
    tokens = bench.release.tokens(prompts)
    flops, units = 2 * bench.work.image, float(sized.batch_size * sized.steps)  # forward, and backward to the pixels
    others, left = _peers(bench, images, labels, settings, units)
    yield Race(
        "image", f"a step of PGD, {sized.batch_size} images of {side} pixels, {bench.few} classes", "image",
        [
            Entrant(OURS, ours(bench.clip, prompts, images, labels, settings), units),
            *_compiled(bench, images, labels, settings, units),
            bench.machine.products(flops),
            # of its steps each takes as long as the first
            Entrant(RELEASE, lambda _: plainly(bench, images, labels, tokens), float(sized.batch_size)),
            *others,
        ],
        flops=flops, left=left,
    )  # fmt: skip


def _compiled(bench: Bench, images: Tensor, labels: Tensor, settings: PgdSettings, units: float) -> Iterator[Entrant]:
    """Ours with the image encoder as `--fast` compiles it, where that is asked for; the clocks count no compiling."""
    if not bench.asked.fast:
        return
    attack = ours(bench.clip.compiled(), bench.prompts(bench.few), images, labels, settings)

    def run(number: int) -> Tensor:
        with as_released():
            return attack(number)

    compile_it = cache(lambda: run(0))
    yield Entrant(FAST, run, units, before=lambda _: compile_it())


def ours(
    victim: Clip, prompts: list[str], images: Tensor, labels: Tensor, settings: PgdSettings
) -> Callable[[int], Tensor]:
    """The attack of a round, by its number, as `mmcoa evaluate` makes a block: the prompts are embedded before."""
    task = tasks.lookup("classification")
    answer = task.logits(victim, prompts)
    make = attacks.lookup(IMAGE.name).images
    assert make is not None

    def attack(number: int) -> Tensor:
        """The images of this round, (B, 3, S, S)."""
        return make(
            Batch(
                victim=victim, images=images, labels=labels, indices=range(len(images)), settings=settings,
                seed=number + 1, logits=answer, answer=answer,
                class_features=lambda attack: victim.embed_texts(prompts),
                goal=lambda: task.goal(victim, images, labels, clean=lambda: answer, settings=settings),
            )
        )  # fmt: skip

    return attack


def plainly(bench: Bench, images: Tensor, labels: Tensor, tokens: Tensor, *, steps: int = 1) -> Tensor:
    """The released loop, which leaves its gradients in the weights."""
    settings = settings_of(IMAGE, {})
    with as_released():
        found = attack_pgd(
            bench.release, images, labels, tokens, alpha=settings.step_size, steps=steps, eps=radius(settings.eps)
        )
        bench.release.model.zero_grad()
    return found


@contextmanager
def as_released() -> Iterator[None]:
    """The kernels that torch takes where nobody asks for repeatable ones."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _peers(
    bench: Bench, images: Tensor, labels: Tensor, settings: PgdSettings, units: float
) -> tuple[list[Entrant], list[tuple[str, str]]]:
    """Those that are installed, and of the others what to type."""
    model = Module(bench.release, bench.prompts(bench.few)).eval()
    found, left = list[Entrant](), list[tuple[str, str]]()
    for name, peer in PEERS.items():
        if not peer.version:
            left.append((name, f"not installed ({peer.install})"))
            continue
        try:
            attack = peer.ready(model, images, labels, settings)
        except Exception as error:  # whatever another library's import ends with
            left.append((name, f"cannot be used ({type(error).__name__}: {error})"))
            continue
        found.append(Entrant(name, lambda _, attack=attack: _then_clean(bench, attack), units))  # type: ignore[misc]
    return found, left


def _then_clean(bench: Bench, attack: object) -> Tensor:
    """What a peer makes; the gradients that some leave in the weights are dropped."""
    assert callable(attack)
    with as_released():
        found: Tensor = attack()
        bench.release.model.zero_grad()
    return found
