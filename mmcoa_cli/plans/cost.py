"""How long training runs and tests take, from what a few measured operations took. Nothing here is measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .. import catalog
from ..attacks.settings import PgdSettings
from ..jobs.specs import EvaluationSpec, TrainSpec
from .selection import Data


@dataclass(frozen=True)
class Speed:
    """Seconds of this machine with one model: of an image where nothing else is said, or of a prompt."""

    forward: float
    gradient: float  # one step of PGD
    update: float  # forward and backward with the gradients of the weights
    prompt: float
    prompt_update: float
    prompt_attack: float  # on top of its candidates
    candidates: float  # the masked LM's, for one prompt
    optimizer: float  # one step of Adam
    load: float  # both models, at the start of a job
    device: str = ""
    ranks: int = 1  # devices that share the images


def training_seconds(spec: TrainSpec, data: Data, speed: Speed) -> float:
    """A run, from its number of images, steps and prompts.

    A step encodes each image once, and a second time where both the clean and the adversarial one are contrasted; all K
    class prompts, or, contrasted, those of the batch and their adversarial ones; and attacks what the method attacks.
    The released code also adds up the gradients of the weights at each PGD step.
    """
    attacks = catalog.methods()[spec.method].attacks
    images, text = images_of(spec, data), "text" in attacks
    batch = min(spec.batch_size, images)
    classes = min(batch, data.classes)
    an_image, a_step = speed.update * (1 + text), speed.optimizer
    a_step += 2 * classes * speed.prompt_update if text else data.classes * speed.prompt_update
    if "image" in attacks:
        an_image += spec.image_attack.steps * speed.gradient
        a_step += data.classes * speed.prompt
        if spec.compat == "release":
            an_image += spec.image_attack.steps * speed.update
            a_step += spec.image_attack.steps * data.classes * speed.prompt_update
    if text:
        a_step += classes * speed.prompt_attack
    an_epoch = images * an_image / speed.ranks + math.ceil(images / batch) * a_step
    return speed.load + spec.epochs * an_epoch + (data.classes * speed.candidates if text else 0)


def images_of(spec: TrainSpec, data: Data) -> int:
    """The number of images a run is trained on."""
    return data.train if spec.shots == "full" else min(data.train, int(spec.shots) * data.classes)


def evaluation_seconds(spec: EvaluationSpec, data: Data, speed: Speed, *, attacks: Iterable[str]) -> float:
    """Those attacks of `spec`. `multimodal` classifies the images of `image` by the prompts of `text`: only that."""
    attacks = set(attacks)
    if not attacks:
        return 0.0
    images = min(data.test, spec.limit or data.test)
    seconds = len(attacks) * (images * speed.forward / speed.ranks + data.classes * speed.prompt)
    if "image" in attacks:
        seconds += images * spec.options.get("steps", PgdSettings.steps) * speed.gradient / speed.ranks
    if "text" in attacks:
        seconds += data.classes * (speed.candidates + speed.prompt_attack)
    return speed.load + seconds
