"""Evaluations that leave an image once it is fooled: the same in any blocks, and however often interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmcoa_cli.attacks.image import IMAGE
from mmcoa_cli.attacks.pgd import pgd
from mmcoa_cli.attacks.starts import random_start
from mmcoa_cli.datasets.pixels import load_pixels, to_unit
from mmcoa_cli.jobs.evaluation import Maker
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import Trial, trials_of
from mmcoa_cli.models.load import load_mlm, load_subject
from mmcoa_cli.settings import Home
from mmcoa_cli.tasks.classification import classifier
from store.examples import ExampleSet

SPEC = evaluation_spec(
    "vit", ("digits",), mlm="mlm", eps="16/255", alpha="2/255", steps=12, limit=60, stop_when_fooled=True
)  # fmt: skip


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


class Stopped(Exception):
    pass


def made(attack: str, batch_size: int, home: Home, accelerator: Accelerator, *, stops: int = 0) -> ExampleSet:
    """The set of an attack, made at once or with so many interruptions in the middle of it."""
    spec = SPEC.changed(batch_size=batch_size)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    victim, mlm = load_subject(trial.subject.run, home), load_mlm(spec.mlm, home)
    asked = 0

    def stop(*_: Any) -> None:
        nonlocal asked
        asked += 1
        if asked % 9 == 0 and stops:
            raise Stopped

    hook = victim.clip.model.visual.register_forward_pre_hook(stop)
    for _ in range(stops):
        with pytest.raises(Stopped):
            Maker(trial, accelerator, victim, mlm, quiet=True).examples(attack)
    hook.remove()
    examples: ExampleSet = Maker(trial, accelerator, victim, mlm, quiet=True).examples(attack)
    return examples


def clean(home: Home) -> tuple[Trial, np.ndarray[Any, np.dtype[np.uint8]]]:
    (trial,) = trials_of(SPEC, find_subject(SPEC, home), home)
    return trial, load_pixels(trial.dataset, "test", trial.indices)


@pytest.mark.parametrize("attack", ["image", "co-attack"])
def test_images_do_not_depend_on_blocks_and_interruptions(
    new_home: Callable[[str], Home], accelerator: Accelerator, attack: str
) -> None:
    homes = [new_home(name) for name in ("one", "small", "interrupted")]
    _, pixels = clean(homes[0])
    sets = [
        made(attack, 60, homes[0], accelerator),
        made(attack, 7, homes[1], accelerator),
        made(attack, 13, homes[2], accelerator, stops=3),
    ]
    one, *others = (examples.images(0, 60, pixels) for examples in sets)
    for other in others:
        assert (np.abs(one - other) > 1e-5).mean() < 1e-3  # signs of gradients next to zero
    for examples in sets[1:]:
        assert examples.columns("credit").tolist() == sets[0].columns("credit").tolist()
        assert examples.columns("index").tolist() == sets[0].columns("index").tolist()


def test_images_are_those_of_the_attack_on_all_together(home: Home, accelerator: Accelerator) -> None:
    """Without any refilling; some are fooled at once, some on the way, some not at all."""
    (trial, pixels), examples = clean(home), made("image", 16, home, accelerator)
    victim, settings = load_subject(trial.subject.run, home), SPEC.settings(IMAGE)
    images, labels = to_unit(pixels, torch.device("cpu")), torch.from_numpy(trial.labels)
    start = random_start(settings, images, indices=trial.indices.tolist(), seed=0)
    attacked = partial(pgd, classifier(victim, trial.texts), images, labels, start=start)
    expected, goes_on = attacked(settings=settings), attacked(settings=replace(settings, stop_when_fooled=False))
    found = torch.from_numpy(examples.images(0, 60, pixels))
    assert ((found - expected).abs() > 1e-5).double().mean() < 1e-3
    left = (expected != goes_on).flatten(1).any(dim=1).double().mean()
    assert 0.2 < float(left) < 0.9, "as good as all images are left, or none: the test would show little"
