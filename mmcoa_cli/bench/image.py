"""The image attack: a step of PGD, beside the released loop and the libraries that have the same attack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .. import attacks, tasks
from ..attacks.base import Batch, Classifier, settings_of
from ..attacks.image import IMAGE
from ..attacks.radii import radius
from ..attacks.settings import PgdSettings
from ..datasets.pixels import to_unit
from .bench import Bench
from .peers import PEERS, Module
from .race import OURS, RELEASE, Entrant, Race
from .release import attack_pgd


def races(bench: Bench) -> Iterator[Race]:
    """A step of PGD."""
    sized, side = bench.sized, bench.clip.image_size
    settings = settings_of(IMAGE, {"steps": sized.steps})
    images = to_unit(bench.pixels(sized.batch_size), bench.device)
    labels, answer = bench.labels(sized.batch_size), classifier(bench)
    tokens = bench.release.tokens(bench.prompts(bench.few))
    flops, units = 2 * bench.work.image, float(sized.batch_size * sized.steps)  # forward, and backward to the pixels
    others, left = _peers(bench, images, labels, settings, units)
    yield Race(
        "image", f"a step of PGD, {sized.batch_size} images of {side} pixels, {bench.few} classes", "image",
        [
            Entrant(OURS, lambda number: ours(bench, images, labels, settings, answer, seed=number + 1), units),
            bench.machine.products(flops),
            # of its steps each takes as long as the first
            Entrant(RELEASE, lambda _: plainly(bench, images, labels, tokens), float(sized.batch_size)),
            *others,
        ],
        flops=flops, left=left,
    )  # fmt: skip


def classifier(bench: Bench) -> Classifier:
    """Pixels to logits against the class prompts, which are embedded once."""
    return tasks.lookup("classification").logits(bench.clip, bench.prompts(bench.few))


def ours(
    bench: Bench, images: Tensor, labels: Tensor, settings: PgdSettings, answer: Classifier, *, seed: int
) -> Tensor:
    """The attack as `mmcoa evaluate` makes a block of it."""
    task, victim = tasks.lookup("classification"), bench.clip
    batch = Batch(
        victim=victim, images=images, labels=labels, indices=range(len(images)), settings=settings, seed=seed,
        logits=answer, answer=answer, class_features=lambda attack: victim.embed_texts(bench.prompts(bench.few)),
        goal=lambda: task.goal(victim, images, labels, clean=lambda: answer, settings=settings),
    )  # fmt: skip
    make = attacks.lookup(IMAGE.name).images
    assert make is not None
    return make(batch)


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
        torch.use_deterministic_algorithms(before[0], warn_only=True)
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
