"""Estimates, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmcoa_cli.jobs.specs import ATTACKS, evaluation_spec, train_spec
from mmcoa_cli.plans.cost import Speed, evaluation_seconds, images_of, training_seconds
from mmcoa_cli.plans.selection import Data

DATA = Data("digits", 10, 1000, 500, True)


def test_training(speed: Speed) -> None:
    def seconds(method: str, **changes: object) -> float:
        spec = train_spec(method, dataset="digits", shots="2", epochs=3, batch_size=16, steps=5)
        return training_seconds(replace(spec, **changes), DATA, speed) - speed.load  # type: ignore[arg-type]

    # 20 images in two batches, three times: an image 4, a step 32 and ten prompts at 0.5
    assert seconds("ft-standard") == 3 * (20 * 4 + 2 * (32 + 10 * 0.5))
    # five PGD steps at 2 for an image, and the prompts once more without gradients
    assert seconds("tecoa") == 3 * (20 * (4 + 5 * 2) + 2 * (32 + 10 * 0.5 + 10 * 0.25))
    # every image twice; the batch's ten classes and their adversarial prompts; the candidates once a run
    assert seconds("mmcoa") == 3 * (20 * (8 + 10) + 2 * (32 + 20 * 0.5 + 10 * 0.25 + 10 * 8)) + 10 * 16
    # the released code's gradients of the weights, at each of five PGD steps
    assert seconds("tecoa", compat="release") - seconds("tecoa") == 3 * (20 * 5 * 4 + 2 * 5 * 10 * 0.5)
    assert seconds("tecoa", epochs=6) == 2 * seconds("tecoa")


def test_an_evaluation_never_counts_shared_work_twice(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), steps=7, limit=100)

    def seconds(*attacks: str) -> float:
        return evaluation_seconds(spec, DATA, speed, attacks=attacks)

    classify = 100 * 1.0 + 10 * 0.25
    assert seconds() == 0
    assert seconds("clean") == seconds("multimodal") == speed.load + classify
    assert seconds("image") == speed.load + classify + 100 * 7 * 2
    assert seconds("text") == speed.load + classify + 10 * (16 + 8)
    assert seconds(*ATTACKS) == speed.load + 4 * classify + 100 * 7 * 2 + 10 * (16 + 8)
    whole = evaluation_seconds(replace(spec, limit=None), DATA, speed, attacks=["clean"])
    assert whole == speed.load + 500 * 1.0 + 10 * 0.25


@pytest.mark.parametrize(("shots", "images"), [("1", 10), ("50", 500), ("500", 1000), ("full", 1000)])
def test_the_number_of_training_images(shots: str, images: int) -> None:
    assert images_of(train_spec("tecoa", dataset="digits", shots=shots), DATA) == images


def test_several_devices_share_the_images(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), steps=100)
    alone, four = (
        evaluation_seconds(spec, DATA, replace(speed, ranks=ranks), attacks=["image"]) - speed.load for ranks in (1, 4)
    )
    assert alone / 4 < four < alone / 3.9
