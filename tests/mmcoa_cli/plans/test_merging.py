"""Tests of one checkpoint are one job, and so is a training with its tests; a failure is that of its own step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmcoa_cli.catalog import Kind
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.job import Job, Outcome
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.plans.execution import Execution
from mmcoa_cli.plans.merging import job_of, together
from mmcoa_cli.plans.steps import Between, Fetch, Step
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.index import Index

RUN = train_spec("tecoa", dataset="digits", shots="1", model="vit", mlm="mlm", epochs=1, lr=1e-3, steps=1)
TEST = evaluation_spec("vit", ("digits",), ("clean", "image"), mlm="mlm", steps=2, limit=20)


def a_test(spec: EvaluationSpec, dataset: str, **about: object) -> Step:
    return Step(Job(evaluate=spec.on(dataset)), f"test {spec.checkpoint} on {dataset}", **about)  # type: ignore[arg-type]


def numbers(steps: list[Step]) -> list[int]:
    return [len(group) for group in together(steps)]


def test_what_is_one_job() -> None:
    training = Step(Job(RUN), "train", RUN)
    own = [a_test(TEST, name, of=RUN) for name in ("a", "b", "c")]
    zero_shot = [a_test(TEST, name) for name in ("a", "b")]
    assert numbers([*zero_shot, training, *own]) == [2, 4]
    assert job_of([training, *own]) == Job(RUN, TEST.on("a", "b", "c"))
    assert job_of(zero_shot) == Job(evaluate=TEST.on("a", "b"))
    # other options or attacks are further tests of the job; another checkpoint or precision, an epoch before the last,
    # a model on the way are jobs of their own
    for other in ({"eps": "2/255"}, {"attacks": ("clean",)}, {"seed": 1}):
        varied = [a_test(TEST.changed(**other), name) for name in ("a", "b")]
        assert numbers([*zero_shot, *varied]) == [4]
        assert job_of([*zero_shot, *varied]) == Job(
            evaluate=TEST.on("a", "b"), more=(TEST.changed(**other).on("a", "b"),)
        )
        assert [len(some) for some in together([training, *own, *varied], typed=True)] == [1, 3, 2]
    for other in ({"checkpoint": "x"}, {"precision": "tf32"}, {"epoch": 1}):
        assert numbers([*zero_shot, a_test(TEST.changed(**other), "c")]) == [2, 1]
    assert numbers([training, a_test(TEST.changed(epoch=1), "a", of=RUN), *own]) == [1, 1, 3]
    way = Step(Between("vit", "run", 3), "interpolate", RUN)
    assert numbers([training, way, a_test(TEST, "a", of=RUN, w=0.5), a_test(TEST, "a", of=RUN, w=1.0)]) == [1, 1, 1, 1]
    assert numbers([Step(Fetch("a", Kind.dataset), "fetch"), *zero_shot, training]) == [1, 2, 1]
    assert numbers([Step(Job(RUN, TEST), "train"), a_test(TEST, "b")]) == [1, 1]
    assert numbers([training, a_test(TEST, "a", of=replace(RUN, seed=1))]) == [1, 1]


def small(home: Home, name: str, classes: tuple[str, ...]) -> None:
    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=classes, pixel_size=8, resize=None,
        template="This is a photo of a {}", source="here", image_size=8,
    )  # fmt: skip
    with writer as out:
        for number in range(12):
            out.add("test", np.full((8, 8, 3), 20 * number, np.uint8), number % len(classes))


def test_a_dataset_that_fails_takes_no_other_along(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tests are one job where all goes well; where one fails, it alone is told, and the others are done."""
    small(home, "more", ("cat", "dog"))
    small(home, "broken", ("cat", "Cat"))
    begun: list[Job] = []

    def counted(job: Job, *parts: object) -> Outcome:
        begun.append(job)
        return perform(job, *parts)  # type: ignore[arg-type]

    perform = launch.perform
    monkeypatch.setattr("mmcoa_cli.jobs.launch.perform", counted)
    steps = [a_test(TEST, name) for name in ("digits", "broken", "more")]
    failures = Execution(home).what_can_be(steps)
    assert [failure.title for failure in failures] == ["test vit on broken"] and failures[0].hint
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("error:") == 1 and "1-3/3 test vit on digits; also on broken, more" in said
    assert {row.dataset for _, row in Index(home.database_url).results()} == {"digits", "more"}
    begun.clear()
    varied = [a_test(TEST.changed(eps=eps), "digits") for eps in ("2/255", "1/255", "4/255")]
    assert Execution(home).what_can_be(varied) == [] and len(begun) == 1
    images = [row for _, row in Index(home.database_url).results() if row.attack == "image"]
    assert {row.threat["image"]["eps"] for row in images} == {"1/255", "2/255", "4/255"}
    begun.clear()
    assert Execution(home).what_can_be([a_test(TEST.changed(seed=1), name) for name in ("digits", "more")]) == []
    assert [job.evaluate.datasets for job in begun if job.evaluate] == [("digits", "more")]
