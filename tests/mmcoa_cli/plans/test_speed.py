"""Estimates, by hand; what was measured is found again; and the measurement itself, beside what really happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.training_spec import TrainSpec, train_spec
from mmcoa_cli.plans.measuring import measure
from mmcoa_cli.plans.request import Request
from mmcoa_cli.plans.selection import Data, look_up
from mmcoa_cli.plans.speed import Cost, Measured, Size, Speed, fitted, images_of
from mmcoa_cli.settings import Home

DATA = Data("digits", 10, 1000, 500, True)


def seconds(speed: Speed, spec: TrainSpec, data: Data) -> float:
    return speed.of_training(spec, data).seconds or 0.0


def seconds_of_test(speed: Speed, spec: EvaluationSpec, data: Data, *, attacks: Sequence[str]) -> float:
    return speed.of_test(spec, data, attacks=attacks).seconds or 0.0


def test_a_training(speed: Speed) -> None:
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=3, batch_size=16, steps=5)
    # 20 images in two steps, three times: a step 32, an image 4, each of its attack's steps 2, ten prompts, ten classes
    assert seconds(speed, spec, DATA) == 64 + 3 * (2 * 32 + 20 * (4 + 5 * 2) + 2 * 10 * 0.5 + 2 * 10 * 8)
    words = train_spec("mmcoa", dataset="digits", shots="2", epochs=3, batch_size=16, steps=5)
    assert seconds(speed, words, DATA) == seconds(speed, spec, DATA) + 128 + 10 * 16  # its masked LM reads each prompt


def test_a_training_in_stages(speed: Speed) -> None:
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=5, batch_size=16, steps=5, recipe="fast")
    # of ten steps on ten images six on a quarter of the pixels, two on 9/16, two steps of the attack in each; then two
    stages = [6 * (32 + 2.5 * (4 + 2 * 2)), 2 * (32 + 5.625 * (4 + 2 * 2)), 2 * (32 + 10 * (4 + 5 * 2))]
    assert seconds(speed, spec, DATA) == 64 + sum(stages) + 10 * (10 * 0.5 + 10 * 8)
    alike = seconds(replace(speed, any_size=False), spec, DATA) - seconds(speed, spec, DATA)
    assert alike == 6 * 7.5 * 8 + 2 * 4.375 * 8


def test_a_test_counts_each_attack_on_top_of_those_it_needs(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), steps=7, limit=100)
    image = spec.changed(attacks=("clean", "image"))
    classify = 100 * 1.0 + 10 * 0.25
    assert seconds_of_test(speed, spec, DATA, attacks=[]) == 0
    assert seconds_of_test(speed, image, DATA, attacks=["clean"]) == 64 + classify
    assert seconds_of_test(speed, spec, DATA, attacks=["multimodal"]) == 64 + 128 + classify
    assert seconds_of_test(speed, image, DATA, attacks=["image"]) == 64 + classify + 100 * 7 * 2
    assert seconds_of_test(speed, spec, DATA, attacks=spec.attacks) == 64 + 128 + 4 * classify + 100 * 7 * 2 + 10 * 24
    assert seconds_of_test(speed, image.changed(limit=None), DATA, attacks=["clean"]) == 64 + 500 * 1.0 + 10 * 0.25


@pytest.mark.parametrize(("shots", "images"), [("1", 10), ("50", 500), ("500", 1000), ("full", 1000)])
def test_the_number_of_training_images(shots: str, images: int) -> None:
    assert images_of(train_spec("tecoa", dataset="digits", shots=shots), DATA) == images


def test_several_devices_share_the_images(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), ("image",), steps=100)
    alone, four = (seconds_of_test(replace(speed, ranks=ranks), spec, DATA, attacks=["image"]) - 64 for ranks in (1, 4))
    assert alone / 4 < four < alone / 3.9


def test_training_images_that_are_attacked_before_the_first_step(speed: Speed) -> None:
    """advpt: 20 images, five steps each."""
    cost = Cost((0.0, 1.0, 2.0, 0.0, 0.0, 0.0))
    speed = replace(speed, attacks={**speed.attacks, "embedding": cost})
    spec = train_spec("advpt", dataset="digits", shots="2", epochs=1, batch_size=20, offline_steps=5)
    a_step = 32 + 20 * 4 + 20 * 2 * spec.image_attack.steps + 10 * 0.5 + 10 * 8
    assert seconds(speed, spec, DATA) == 64 + 20 + 20 * 5 * 2 + a_step


def test_a_leak_takes_its_own_time(speed: Speed) -> None:
    speed = replace(speed, leaking={"tecoa": Cost((1000.0, 0.0, 0.0, 0.0, 0.0, 0.0))})
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=3, batch_size=20)
    assert seconds(speed, spec.changed(compat="leak"), DATA) == 64 + 3 * 1000
    assert seconds(speed, spec, DATA) < 64 + 3 * 1000


def test_costs_are_found_again() -> None:
    cost = Cost((0.5, 0.1, 0.02, 0.3, 0.0, 0.7), held=(100.0, 20.0, 3.0))
    sizes = [Size(n, steps, k, c) for n in (2, 8) for steps in (1, 3) for k in (2, 8) for c in (1, 2)]
    held = [100 + 20 * size.images + 3 * min(size.images, size.prompts) for size in sizes]
    found = fitted([Measured(size, cost.of(size), most) for size, most in zip(sizes, held, strict=True)], stepwise=True)
    assert found.seconds == pytest.approx(cost.seconds, abs=1e-6) and found.held == pytest.approx(cost.held, abs=1e-6)
    slower = fitted([Measured(size, 2 * cost.of(size)) for size in sizes])
    assert slower.of(Size(100, 10, 50, 50)) == pytest.approx(2 * cost.of(Size(100, 10, 50, 50)))
    assert min(fitted([Measured(Size(1, 1, 1, 1), 1.0), Measured(Size(2, 1, 1, 1), 0.5)]).seconds) >= 0


def test_what_was_measured_of_one_image_is_an_images() -> None:
    """Of 2 s, of which a step takes 0.4: ten images take ten times as long, and hold ten times as much."""
    sizes = [Size(1, 1, 2, 1), Size(1, 2, 2, 1), Size(1, 1, 8, 1)]
    cost = fitted([Measured(size, 1.2 + 0.4 * size.steps + 0.1 * size.prompts, 600) for size in sizes])
    assert cost.of(Size(10, 1, 2, 1)) == pytest.approx(10 * (1.2 + 0.4) + 0.1 * 2)
    assert cost.of(Size(10, 100, 2, 1)) == pytest.approx(10 * (1.2 + 0.4 * 100) + 0.1 * 2)
    assert cost.held[0] == 0


def test_memory_is_the_most_that_is_held_at_once(speed: Speed) -> None:
    """Of 500 images a batch of 16, of which each holds 10 bytes and each of ten prompts 100; the weights thrice more;
    and of several attacks that which holds most."""
    cost = replace(speed.methods["tecoa"], held=(7.0, 10.0, 100.0), weights=1000.0)
    speed = replace(speed, methods={"tecoa": cost}, attacks={"clean": cost, "image": speed.attacks["image"]}, base=5.0)
    spec = train_spec("tecoa", dataset="digits", shots="50", batch_size=16)
    assert speed.of_training(spec, DATA).memory == pytest.approx(5 + 3000 + 1.4 * (7 + 160 + 1000))
    assert speed.of_training(spec, DATA, most=4).memory == pytest.approx(5 + 3000 + 1.4 * (7 + 40 + 400))
    test = evaluation_spec("", ("digits",), ("clean", "image"), batch_size=8)
    assert speed.of_test(test, DATA, attacks=test.attacks).memory == pytest.approx(5 + 3000 + 1.4 * (7 + 80 + 800))


def test_every_method_and_attack_is_measured_and_more_takes_longer(home: Home) -> None:
    """How near the estimates come is no matter of passing: it is measured where nothing else runs."""
    order = Request(("table1",), model="vit", mlm="mlm", batch_size=32, explain=True)
    speed = measure(order.work, home, side=8)
    digits = look_up("digits", home)
    assert digits and set(speed.methods) == {"ft-standard", "tecoa", "mmcoa"}
    options: dict[str, Any] = {"dataset": "digits", "model": "vit", "mlm": "mlm", "batch_size": 32}
    for method in speed.methods:
        few, many = (seconds(speed, train_spec(method, **options, shots=n, epochs=4), digits) for n in ("1", "full"))
        assert 0 < few < many < math.inf
    weights = sum(path.stat().st_size for path in (home.clips / "vit").glob("*.safetensors"))
    assert {name: cost.weights for name, cost in speed.methods.items()} == pytest.approx(
        dict.fromkeys(speed.methods, weights), rel=0.05
    )
    assert set(speed.leaking) == {"tecoa", "mmcoa"}
    test = evaluation_spec("vit", ("digits",), mlm="mlm", batch_size=32)
    assert seconds_of_test(speed, test, digits, attacks=()) == 0
    one, all_ = (seconds_of_test(speed, test, digits, attacks=attacks) for attacks in (("clean",), test.attacks))
    assert 0 < one < all_ < math.inf
