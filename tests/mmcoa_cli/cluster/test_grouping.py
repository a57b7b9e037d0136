"""What becomes one job of a cluster, and what each waits for."""

from __future__ import annotations

from mmcoa_cli.catalog import Kind
from mmcoa_cli.cluster.grouping import errands
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.plans.steps import Between, Step, fetching

TECOA, MMCOA = (TrainSpec(name, "digits", shots="5", model="tiny-clip") for name in ("tecoa", "mmcoa"))


def training(spec: TrainSpec, *, cached: bool = False) -> Step:
    return Step(Job(spec), f"train {spec.method}", of=spec, cached=cached)


def test(dataset: str, *, of: TrainSpec | None = None, w: float | None = None) -> Step:
    spec = evaluation_spec("tiny-clip" if of is None else "", (dataset,), ("clean",))
    return Step(Job(evaluate=spec), f"test on {dataset}", of=of, w=w)


test.__test__ = False  # type: ignore[attr-defined]


def test_a_job_trains_a_model_and_another_makes_all_its_tests() -> None:
    steps = [
        fetching("digits", Kind.dataset),
        test("digits"),
        test("cifar10"),
        training(TECOA),
        test("digits", of=TECOA),
        test("cifar10", of=TECOA),
        training(MMCOA, cached=True),
        test("digits", of=MMCOA),
    ]
    assert [(errand.title, errand.after) for errand in errands(steps)] == [
        ("test on digits and 1 more", ()),
        ("train tecoa", ()),
        ("test on digits and 1 more", (1,)),
        ("test on digits", ()),  # of a run that is there
    ]


def test_models_between_two_wait_for_the_run_and_their_tests_for_them() -> None:
    way = Step(Between("tiny-clip", "", 3), "interpolate", of=TECOA)
    steps = [
        training(TECOA),
        way,
        test("digits", of=TECOA, w=0.5),
        test("digits", of=TECOA, w=1.0),
        test("digits", of=TECOA),
    ]
    assert [(errand.title, errand.after) for errand in errands(steps)] == [
        ("train tecoa", ()),
        ("interpolate", (0,)),
        ("test on digits and 1 more", (0, 1)),
        ("test on digits", (0,)),
    ]
