"""Estimates, by hand; what was measured is found again; and the measurement itself, beside what really happens."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from typing import Any

import pytest

from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Start
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.plans import direct
from mmcoa_cli.plans.cost import Cost, Disk, Held, Size, Speed, images_of
from mmcoa_cli.plans.measuring import measure
from mmcoa_cli.plans.order import Order
from mmcoa_cli.plans.selection import Data, look_up
from mmcoa_cli.settings import Home

DATA = Data("digits", 10, 1000, 500, True)


def test_a_training(speed: Speed) -> None:
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=3, batch_size=16, steps=5)
    # 20 images in two steps, three times: a step 32, an image 4, each of its attack's steps 2, ten prompts, ten classes
    assert speed.training(spec, DATA) == 64 + 3 * (2 * 32 + 20 * (4 + 5 * 2) + 2 * 10 * 0.5 + 2 * 10 * 8)
    words = train_spec("mmcoa", dataset="digits", shots="2", epochs=3, batch_size=16, steps=5)
    assert speed.training(words, DATA) == speed.training(spec, DATA) + 128 + 10 * 16  # its masked LM reads each prompt


def test_a_training_in_stages(speed: Speed) -> None:
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=5, batch_size=16, steps=5, recipe="fast")
    # of ten steps on ten images six on a quarter of the pixels, two on 9/16, two steps of the attack in each; then two
    stages = [6 * (32 + 2.5 * (4 + 2 * 2)), 2 * (32 + 5.625 * (4 + 2 * 2)), 2 * (32 + 10 * (4 + 5 * 2))]
    assert speed.training(spec, DATA) == 64 + sum(stages) + 10 * (10 * 0.5 + 10 * 8)
    alike = replace(speed, any_size=False).training(spec, DATA) - speed.training(spec, DATA)
    assert alike == 6 * 7.5 * 8 + 2 * 4.375 * 8


def test_a_test_counts_each_attack_on_top_of_those_it_needs(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), steps=7, limit=100)
    image = spec.changed(attacks=("clean", "image"))
    classify = 100 * 1.0 + 10 * 0.25
    assert speed.test(spec, DATA, attacks=[]) == 0
    assert speed.test(image, DATA, attacks=["clean"]) == 64 + classify
    assert speed.test(spec, DATA, attacks=["multimodal"]) == 64 + 128 + classify
    assert speed.test(image, DATA, attacks=["image"]) == 64 + classify + 100 * 7 * 2
    assert speed.test(spec, DATA, attacks=spec.attacks) == 64 + 128 + 4 * classify + 100 * 7 * 2 + 10 * 24
    assert speed.test(image.changed(limit=None), DATA, attacks=["clean"]) == 64 + 500 * 1.0 + 10 * 0.25


@pytest.mark.parametrize(("shots", "images"), [("1", 10), ("50", 500), ("500", 1000), ("full", 1000)])
def test_the_number_of_training_images(shots: str, images: int) -> None:
    assert images_of(train_spec("tecoa", dataset="digits", shots=shots), DATA) == images


def test_several_devices_share_the_images(speed: Speed) -> None:
    spec = evaluation_spec("", ("digits",), ("image",), steps=100)
    alone, four = (replace(speed, ranks=ranks).test(spec, DATA, attacks=["image"]) - 64 for ranks in (1, 4))
    assert alone / 4 < four < alone / 3.9


def test_what_is_left_on_disk() -> None:
    examples = {"clean": {8: (10.0, 2.0)}, "image": {8: (20.0, 8.0), 100: (20.0, 3000.0)}, "embedding": {8: (9.0, 7.0)}}
    disk = Disk({"tecoa": 100.0, "advpt": 1.0}, examples)
    spec = train_spec("tecoa", dataset="digits", epochs=3)
    sizes = [disk.training(spec, DATA, keep) for keep in (None, 1, 2, 9)]
    assert sizes == [500, 100, 400, 500]  # with the optimizer's state, or without
    spec, larger = evaluation_spec("", ("digits",), limit=50), replace(DATA, pixel_size=16)
    assert disk.test(spec, replace(DATA, pixel_size=8), attacks=["clean", "image"]) == 10 + 50 * 2 + 20 + 50 * 8
    assert disk.test(spec, larger, attacks=["image"]) == 20 + 50 * 8 * 4
    assert disk.test(spec, larger, attacks=[]) == 0
    whole, at_100, at_200 = (spec.changed(pixel_size=side) for side in (None, 100, 200))
    assert disk.test(at_100, larger, attacks=["image"]) == 20 + 50 * 3000  # as that side was measured
    assert disk.test(at_200, larger, attacks=["image"]) == pytest.approx(20 + 50 * 3000 * 4)
    assert disk.test(at_200, larger, attacks=["clean"]) == disk.test(whole, larger, attacks=["clean"]) == 10 + 50 * 2


def test_training_images_that_are_attacked_before_the_first_step(speed: Speed) -> None:
    """advpt: 20 images, five steps each, and their examples beside the weights of an epoch and two for the moments."""
    cost = Cost((0.0, 1.0, 2.0, 0.0, 0.0, 0.0))
    speed = replace(speed, attacks={**speed.attacks, "embedding": cost})
    spec = train_spec("advpt", dataset="digits", shots="2", epochs=1, batch_size=20, offline_steps=5)
    a_step = 32 + 20 * 4 + 20 * 2 * spec.image_attack.steps + 10 * 0.5 + 10 * 8
    assert speed.training(spec, DATA) == 64 + 20 + 20 * 5 * 2 + a_step
    disk = Disk({"advpt": 100.0}, {"embedding": {224: (9.0, 7.0)}})
    assert disk.training(spec, DATA, None) == 3 * 100 + 9 + 20 * 7


def test_a_leak_takes_its_own_time(speed: Speed) -> None:
    speed = replace(speed, leaking={"tecoa": Cost((1000.0, 0.0, 0.0, 0.0, 0.0, 0.0))})
    spec = train_spec("tecoa", dataset="digits", shots="2", epochs=3, batch_size=20)
    assert speed.training(spec.changed(compat="leak"), DATA) == 64 + 3 * 1000
    assert speed.training(spec, DATA) < 64 + 3 * 1000


def test_costs_are_found_again() -> None:
    cost = Cost((0.5, 0.1, 0.02, 0.3, 0.0, 0.7))
    sizes = [Size(n, steps, k, c) for n in (2, 8) for steps in (1, 3) for k in (2, 8) for c in (1, 2)]
    fitted = Cost.fitted([(size, cost.of(size)) for size in sizes], stepwise=True)
    assert fitted.terms == pytest.approx(cost.terms, abs=1e-6)
    slower = Cost.fitted([(size, 2 * cost.of(size)) for size in sizes])
    assert slower.of(Size(100, 10, 50, 50)) == pytest.approx(2 * cost.of(Size(100, 10, 50, 50)))
    assert min(Cost.fitted([(Size(1, 1, 1, 1), 1.0), (Size(2, 1, 1, 1), 0.5)]).terms) >= 0


def test_what_was_measured_of_one_image_is_an_images() -> None:
    """Of 2 s, of which a step takes 0.4: ten images take ten times as long, and hold ten times as much."""
    cost = Cost.fitted([(Size(1, steps, k, 1), 1.2 + 0.4 * steps + 0.1 * k) for steps, k in ((1, 2), (2, 2), (1, 8))])
    assert cost.of(Size(10, 1, 2, 1)) == pytest.approx(10 * (1.2 + 0.4) + 0.1 * 2)
    assert cost.of(Size(10, 100, 2, 1)) == pytest.approx(10 * (1.2 + 0.4 * 100) + 0.1 * 2)
    assert Held({"one": [(1, 1, 600), (1, 1, 600)]}).fitted()["one"][0] == 0


def test_every_method_and_attack_is_measured_and_more_takes_longer(home: Home) -> None:
    """How near the estimates come is no matter of passing: it is measured where nothing else runs."""
    order = Order(("table1",), model="vit", mlm="mlm", batch_size=32, explain=True)
    speed = measure(order, home, side=8, sides={8: "digits", 48: "digits", 64: ""})
    digits = look_up("digits", home)
    assert digits and set(speed.methods) == {"ft-standard", "tecoa", "mmcoa"}
    options: dict[str, Any] = {"dataset": "digits", "model": "vit", "mlm": "mlm", "batch_size": 32}
    for method in speed.methods:
        few, many = (speed.training(train_spec(method, **options, shots=n, epochs=4), digits) for n in ("1", "full"))
        assert 0 < few < many < math.inf
    weights = sum(path.stat().st_size for path in (home.clips / "vit").glob("*.safetensors"))
    assert speed.disk and speed.disk.weights == pytest.approx(dict.fromkeys(speed.methods, weights), rel=0.05)
    assert set(speed.disk.examples["image"]) == {8, 48, 64} and set(speed.disk.examples["text"]) == {8}
    assert set(speed.leaking) == {"tecoa", "mmcoa"}
    sets = evaluation_spec("vit", ("digits",), ("clean", "image"), limit=100, steps=10)
    for spec in (sets, sets.changed(pixel_size=48)):
        direct.evaluate([spec], Start())
        there = sum(path.stat().st_size for path in home.examples.glob("*.h5"))
        assert speed.disk.test(spec, digits, attacks=spec.attacks) == pytest.approx(there, rel=0.2)
        shutil.rmtree(home.examples)
    test = evaluation_spec("vit", ("digits",), mlm="mlm", batch_size=32)
    assert speed.test(test, digits, attacks=()) == 0
    one, all_ = (speed.test(test, digits, attacks=attacks) for attacks in (("clean",), test.attacks))
    assert 0 < one < all_ < math.inf
