"""What plans are made of, counted against the paper; what `quick` makes of a budget."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.jobs.job import Job, Start
from mmcoa_cli.jobs.known import Known
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.plans.plan import NOTHING, compose, differences, largest_in_time
from mmcoa_cli.plans.request import LADDER, PAPER, Request, Scale
from mmcoa_cli.plans.speed import Speed
from mmcoa_cli.plans.steps import Step
from mmcoa_cli.settings import Home

from .conftest import data, of_the_paper

VIT = 605_143_316  # bytes of the weights of ViT-B-32, as the catalog has it


@pytest.fixture
def nowhere(tmp_path: Path) -> Home:
    return Home(tmp_path / "nowhere", f"sqlite:///{tmp_path / 'nowhere' / 'index.db'}")


@pytest.mark.parametrize(
    ("name", "runs", "tests"),
    [("table1", 4 * 3, 4 * (3 + 1)), ("table2", 12, 13 * 15), ("table3", 12, 13 * 15), ("fig3", 12, 13 * 15)],
)
def test_the_papers_runs_and_tests(nowhere: Home, speed: Speed, name: str, runs: int, tests: int) -> None:
    plan = compose(Request((name,)), PAPER, [of_the_paper(name)], known=Known(nowhere), speed=speed)
    counts = Counter(step.kind for step in plan.steps)
    assert (counts["train"], counts["evaluate"]) == (runs, tests)
    assert not plan.left_out
    jobs = [step.work for step in plan.steps if isinstance(step.work, Job)]
    specs = [job.train for job in jobs if job.train]
    assert len(set(specs)) == runs
    assert {(spec.epochs, spec.image_attack) for spec in specs} == {(10, PgdSettings(steps=10))}
    for spec in (job.evaluate for job in jobs if job.evaluate):
        assert (spec.limit, spec.options) == (None, {})  # all defaults: 1/255, 100 steps
        assert spec.attacks == Request((name,)).attacks and set(spec.attacks) == set(catalog.tables()[name].attacks)
    assert plan.seconds == pytest.approx(sum(step.seconds or 0 for step in plan.steps))
    assert not nowhere.root.exists()


def test_a_run_comes_before_its_tests_and_after_its_data(nowhere: Home, speed: Speed) -> None:
    steps = compose(Request(("table2",)), PAPER, [of_the_paper("table2")], known=Known(nowhere), speed=speed).steps
    trained: set[TrainSpec | None] = {None}
    for step in steps:
        if isinstance(step.work, Job) and step.work.train:
            trained.add(step.work.train)
        assert step.of in trained
    kinds = [step.kind for step in steps]
    assert "fetch" not in kinds[kinds.index("evaluate") :]


def test_without_a_measurement_there_is_no_time(nowhere: Home) -> None:
    plan = compose(Request(("table1",)), PAPER, [of_the_paper("table1")], known=Known(nowhere))
    assert plan.seconds is None and plan.document()["estimated_seconds"] is None
    assert len(plan.todo) == 2 + 12 + 16  # both models are to be fetched


def test_commands_are_those_a_person_would_type(nowhere: Home) -> None:
    order = Request(("table2",), model="my clip", seed=3, compat="release", batch_size=64, start=Start(processes=2))
    plan = compose(order, Scale("5", 3, 200, 10), [of_the_paper("table2")], known=Known(nowhere))
    commands = {step.title: step.command for step in plan.steps}
    assert commands["train mmcoa, 5-shot on imagenet"] == (
        "mmcoa train --method mmcoa --dataset imagenet --shots 5 --model 'my clip' --epochs 3 --batch-size 64 --seed 3 "
        "--compat release --processes 2 --no-evaluate"
    )
    assert commands["test mmcoa, 5-shot from imagenet on dtd"] == (
        "mmcoa evaluate --checkpoint mmcoa-imagenet-5shot --dataset dtd --limit 200 --seed 3 --batch-size 64 "
        "--compat release --steps 10 --processes 2"
    )
    assert shlex.split(commands["test clip, zero-shot on dtd"])[:4] == ["mmcoa", "evaluate", "--checkpoint", "my clip"]
    clean = compose(Request(("table3",)), PAPER, [of_the_paper("table3")], known=Known(nowhere)).steps[-1]
    assert clean.command == "mmcoa evaluate --checkpoint mmcoa-imagenet-full --dataset caltech256 --attack clean"


@pytest.mark.parametrize("name", ["table1", "table3"])
def test_quick_takes_the_largest_size_in_its_hours(nowhere: Home, speed: Speed, name: str) -> None:
    order, selection = Request((name,), preset="quick"), [of_the_paper(name)]

    def hours(scale: Scale) -> float:
        return (compose(order, scale, selection, known=NOTHING, speed=speed).seconds or 0) / 3600

    costs = [hours(scale) for scale in LADDER]
    assert costs == sorted(costs, reverse=True)
    for scale, cost in list(zip(LADDER, costs, strict=True))[::4]:
        chosen = largest_in_time(replace(order, hours=cost * 1.0001), selection, speed=speed)
        assert hours(chosen) == cost and LADDER.index(chosen) <= LADDER.index(scale)
    too_few = replace(order, hours=costs[-1] / 2)
    assert largest_in_time(too_few, selection, speed=speed) == LADDER[-1]
    assert largest_in_time(order, selection, speed=None) == LADDER[-1]


def test_what_differs_from_the_paper_is_said() -> None:
    selection = of_the_paper("table2")
    assert not list(differences(Request(("table2",)), PAPER, [selection]))
    order = Request(("table2",), preset="quick", model="my-clip", mlm="my-mlm")
    said = "\n".join(differences(order, Scale("5", 3, 100, 10), [selection]))
    for words in ("1, 5 (the paper: 1, 5, 50, full)", "epochs of training: 3", "test images: 100", "test: 10 (",
                  "my-clip instead of ViT-B-32", "my-mlm instead of bert-base-uncased"):  # fmt: skip
        assert words in said
    small = replace(selection, tested=(data("dtd", test=50),))
    assert "test images" not in "\n".join(differences(order, Scale(limit=100), [small]))
    assert "attack" not in "\n".join(differences(Request(("table3",)), Scale(steps=10), [selection]))


def steps_of(*names: str, scale: Scale = PAPER, home: Home) -> list[Step]:
    return list(compose(Request(names), scale, [of_the_paper(name) for name in names], known=Known(home)).steps)


def test_what_several_tables_need_is_there_once(nowhere: Home) -> None:
    """Table II trains as Figures 3 to 5 do; Figure 5 adds runs of the image encoder alone, Figure 6 other radii."""
    alone = {step.title: step.command for step in steps_of("table2", home=nowhere)}
    together = steps_of("table2", "table3", "fig3", "fig4", home=nowhere)
    assert {step.title: step.command for step in together} == alone and len(together) == len(alone)
    more = [step for step in steps_of("table2", "fig5", "fig6", home=nowhere) if step.title not in alone]
    trained = [step.command for step in more if step.kind == "train"]
    assert trained == [
        f"mmcoa train --method {method} --dataset imagenet --shots full --tune image --no-evaluate"
        for method in ("tecoa", "mmcoa")
    ]
    tested = [step.command for step in more if step.kind == "evaluate"]
    radii = [sum(f"--eps {eps} " in f"{command} " for command in tested) for eps in ("1/255", "2/255", "4/255")]
    assert radii == [0, 3 * 15, 3 * 15] and len(tested) == 2 * 15 + sum(radii)


def test_an_ablation_trains_with_each_loss_alone(nowhere: Home) -> None:
    steps = steps_of("table4", home=nowhere)
    trained = [step for step in steps if step.kind == "train"]
    assert len(trained) == 3 * 4 and len(steps) - len(trained) - 6 == 4 * 4
    first = trained[0]
    assert first.label == "mmcoa, full, image weight 1.0, text weight 0.0"
    assert "--image-weight 1.0 --text-weight 0.0" in first.command


def test_epochs_are_tests_of_one_run(nowhere: Home) -> None:
    steps = steps_of("fig7", scale=Scale("5", 3, 100, 10), home=nowhere)
    tests = [step.command for step in steps if "mmcoa-imagenet-5shot" in step.command]
    assert sum(step.kind == "train" for step in steps) == 2
    assert [sum(f"--epochs {epoch} " in test for test in tests) for epoch in (1, 2, 3)] == [15, 15, 0]
    assert len(tests) == 3 * 15  # those of the last epoch are the run's own
    quick = Request(("fig7",))
    assert "epochs of training: 3 (the paper: 10 to 30)" in list(
        differences(quick, Scale("5", 3), [of_the_paper("fig7")])
    )


def test_figure_8_interpolates_between_its_runs_and_tests_each_model(nowhere: Home, speed: Speed) -> None:
    steps = compose(Request(("fig8",)), PAPER, [of_the_paper("fig8")], known=Known(nowhere), speed=speed).steps
    counts = Counter(step.kind for step in steps)
    assert counts == {"fetch": 2 + 2, "train": 2, "interpolate": 2, "evaluate": 2 * 11}
    ways = [step for step in steps if step.kind == "interpolate"]
    assert [step.command for step in ways] == [
        f"mmcoa interpolate ViT-B-32 {method}-imagenet-full" for method in ("tecoa", "mmcoa")
    ]
    assert [(step.seconds, step.bytes) for step in ways] == [(13 * speed.read, 11 * VIT)] * 2
    tests = [step for step in steps if step.kind == "evaluate"]
    assert (
        tests[3].command == ("mmcoa evaluate --checkpoint interpolated-tecoa-imagenet-full-w0.3 --dataset food101")
        and tests[3].title == "test tecoa, full from imagenet at w 0.3 on food101"
    )


def test_figure_9_is_tests_of_features(nowhere: Home) -> None:
    tests = [step for step in steps_of("fig9", home=nowhere) if step.kind == "evaluate"]
    assert len(tests) == 3 * 2
    assert tests[0].command == "mmcoa evaluate --checkpoint ViT-B-32 --dataset cifar10 --attack image --task features"
    assert tests[0].title == "test clip, zero-shot on cifar10, task features"


def test_all_has_every_table_and_figure() -> None:
    titles = {table.title.partition(":")[0] for table in Request(("all",)).tables}
    tables = {f"Table {number}" for number in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")}
    assert titles == tables | {f"Figure {number}" for number in range(3, 14)}


def test_a_learning_rate_is_that_of_fine_tuning(nowhere: Home) -> None:
    """Of vp it is 40, of advpt 0.002: what a model is fine-tuned with is no rate for them."""
    order = Request(("table7",), lr=1e-4)
    steps = compose(order, PAPER, [of_the_paper("table7")], known=Known(nowhere)).steps
    rates = {job.train.method: job.train.lr for step in steps if isinstance(job := step.work, Job) and job.train}
    assert rates == {"advpt": 0.002, "vp": 40.0, "tecoa": 1e-4, "mmcoa": 1e-4}
    assert list(differences(order, PAPER, [of_the_paper("table7")])) == ["learning rate 0.0001 (the paper: 1e-06)"]


def test_steps_that_a_grid_names_are_no_difference() -> None:
    """Table VI: 10 steps, as in the paper, whatever the preset takes elsewhere."""
    retrieval = of_the_paper("table6")
    assert not any("steps" in line for line in differences(Request(("table6",)), Scale(steps=10), [retrieval]))
    both = differences(Request(("table1", "table6")), Scale(steps=10), [of_the_paper("table1"), retrieval])
    assert "steps of the image attack in the test: 10 (the paper: 100)" in list(both)
