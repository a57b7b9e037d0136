"""What is said to be missing, and that its commands are ones the command line takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from mmcoa_cli import app, catalog
from mmcoa_cli.attacks.image import IMAGE
from mmcoa_cli.jobs.evaluation_spec import evaluation_after, evaluation_spec
from mmcoa_cli.jobs.job import Job, command_of
from mmcoa_cli.plans.missing import MOST, Lacking, lacking
from mmcoa_cli.reports.pivot import panels
from mmcoa_cli.reports.reading import attacks_of, rows
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.settings_options import parse
from store.index import Index

IID = catalog.tables()["iid"]
SMALLER = ("imagenet", "cifar10", "stl10", "dtd")
OOD = catalog.tables()["ood"].narrowed(dataset=SMALLER, shots=("5", "full"))
Add = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A store that holds the datasets, as far as anybody looks."""
    home = Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}")
    home.datasets.mkdir()
    for name in {*OOD.datasets, *IID.datasets}:
        (home.datasets / f"{name}.h5").touch()
    return home


def lacks(index: Index, home: Home, *attacks: str, task: catalog.TableRow = OOD) -> Lacking:
    every = attacks_of(task, attacks) or task.attacks
    found = lacking(index.runs(), rows(index, task, attacks=every), table=task, attacks=every, home=home)
    for entry in found.entries():
        parsed(entry["command"])
    return found


def first_command(found: Lacking) -> str:
    """The command of the first run that is not trained."""
    run = found.untrained[0]
    return command_of(Job(run, evaluation_after(run)))


def parsed(command: str) -> dict[str, Any]:
    """The parameters that the command line makes of it; fails where it takes no such option."""
    program, verb, *arguments = shlex.split(command)
    group = typer.main.get_command(app.app)
    assert program == "mmcoa"
    return group.commands[verb].make_context(verb, arguments).params  # type: ignore[attr-defined]


def everywhere(add: Add, method: str, *, leave_out: tuple[str, ...] = (), **options: Any) -> Any:
    run = None
    for dataset in OOD.datasets:
        if dataset not in leave_out:
            run = add(method, {"multimodal": 10}, source="imagenet", dataset=dataset, **options)
    return run


def test_a_whole_table_lacks_nothing(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "clip")
    for method in ("ft-standard", "tecoa", "mmcoa"):
        for shots in OOD.shots:
            everywhere(add, method, shots=shots)
    found = lacks(index, home)
    assert found == Lacking() and found.entries() == found.lines() == []


def test_datasets_that_a_run_was_not_tested_on(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "clip")
    run = everywhere(add, "mmcoa", shots="5", leave_out=("dtd", "stl10"))
    (test,) = lacks(index, home).tests
    assert test.command == f"mmcoa evaluate --checkpoint {run.id} --dataset stl10,dtd --attack multimodal"
    entries = [entry for entry in lacks(index, home).entries() if entry["run"]]
    assert entries == [
        {"run": run.id, "dataset": name, "attack": "multimodal", "command": test.command} for name in ("stl10", "dtd")
    ]


def test_the_settings_of_the_other_evaluations_are_kept(index: Index, add: Add, home: Home) -> None:
    add("clip", {"multimodal": 10}, dataset="cifar10", eps="2/255", steps=10, n=500, limit=500, mlm="tiny-mlm",
        compat="release", seed=3, no_collisions=True, model="my clip")  # fmt: skip
    (test,) = lacks(index, home).tests
    options = parsed(test.command)
    assert (options["checkpoint"], options["eps"], options["steps"], options["limit"]) == (
        ("my clip",), "2/255", 10, 500,
    )  # fmt: skip
    assert (options["mlm"], options["compat"], options["seed"], options["no_collisions"]) == (
        "tiny-mlm", "release", 3, True,
    )  # fmt: skip
    assert "--alpha" not in test.command and "--precision" not in test.command  # the defaults


@pytest.mark.parametrize("alpha,typed", [("0.1", False), ("1/255", True), ("0.5", True)])
def test_alpha_is_typed_where_it_is_not_the_norms_own(
    index: Index, add: Add, home: Home, alpha: str, typed: bool
) -> None:
    """2.5 x 4 / 100 is what `--norm l2 --eps 4` takes; the L-inf default has to be typed there."""
    add("clip", {"image": 10}, dataset="cifar10", norm="l2", eps="4", alpha=alpha)
    (test,) = lacks(index, home, "image").tests
    options = parsed(test.command)
    assert (options["norm"], options["eps"]) == ("l2", "4")
    assert options["alpha"] == (alpha if typed else None)


def test_one_command_for_attacks_that_lack_the_same(index: Index, add: Add, home: Home) -> None:
    add("clip", {"image": 10, "text": 10, "multimodal": 10}, dataset="cifar10")
    (test,) = lacks(index, home, "multimodal", "image", "text").tests
    assert test.spec.attacks == ("multimodal", "image", "text") and test.spec.datasets == ("imagenet", "stl10", "dtd")


def test_other_radii_are_other_commands(index: Index, add: Add, home: Home) -> None:
    add("clip", {"image": 10}, dataset="cifar10")
    add("clip", {"image": 10}, dataset="cifar10", eps="4/255")
    assert sorted(parsed(test.command)["eps"] for test in lacks(index, home, "image").tests) == ["1/255", "4/255"]


def test_runs_and_models_without_a_result_under_the_attack(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "tecoa", mlm="tiny-mlm")
    run = add("mmcoa", {}, source="imagenet", training={"mlm": "tiny-mlm", "eps": "4/255"})
    trained, model = lacks(index, home).tests
    assert parsed(model.command)["checkpoint"] == ("ViT-B-32",) and parsed(model.command)["mlm"] == "tiny-mlm"
    options = parsed(trained.command)
    assert (options["checkpoint"], options["mlm"]) == ((run.id,), "tiny-mlm")
    assert options["eps"] == "1/255"  # as the results that it joins, whatever it was trained with
    assert trained.spec.datasets == OOD.datasets


def test_a_run_that_is_not_finished_is_resumed(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "clip")
    everywhere(add, "tecoa")
    run = add("mmcoa", {}, source="imagenet", status="running")
    found = lacks(index, home)
    assert found.unfinished == ((run.id, "imagenet"),) and found.tests == ()
    assert f"  not finished: mmcoa train --resume {run.id}" in found.lines()


def test_what_the_paper_trained_and_the_index_has_not(index: Index, add: Add, home: Home) -> None:
    training = {"mlm": "tiny-mlm", "lr": 1e-4}
    everywhere(add, "clip", model="tiny-clip", mlm="tiny-mlm")
    everywhere(add, "mmcoa", model="tiny-clip", shots="5", training=training, mlm="tiny-mlm")
    found = lacks(index, home)
    assert len(found.untrained) == 3 * 2 - 1
    assert first_command(found) == (
        "mmcoa train --method ft-standard --dataset imagenet --shots 5 --model tiny-clip --mlm tiny-mlm --lr 0.0001"
    )
    assert found.lines()[1:] == [
        "  not trained, ft-standard at 5, full; tecoa at 5, full; mmcoa at full (the first of them)"
        f": {first_command(found)}"
    ]


def test_only_zero_shot_lacks_the_papers_runs(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "clip")
    found = lacks(index, home)
    assert {run.dataset for run in found.untrained} == {"imagenet"} and len(found.untrained) == 6


def test_another_training_set_than_the_papers(index: Index, add: Add, home: Home) -> None:
    add("mmcoa", {"multimodal": 10}, source="birds", dataset="cifar10")
    found = lacks(index, home)
    assert {run.dataset for run in found.untrained} == {"birds"}
    assert found.datasets == ("birds",)  # to train the others on


def test_datasets_that_are_not_in_the_store_come_first(index: Index, add: Add, home: Home) -> None:
    (home.datasets / "dtd.h5").unlink()
    (home.datasets / "stl10.h5").unlink()
    everywhere(add, "clip", leave_out=("dtd", "stl10", "cifar10"))
    found = lacks(index, home)
    assert found.datasets == ("stl10", "dtd")
    assert found.lines()[1] == "  not in the store: mmcoa fetch stl10 dtd"
    assert [entry["dataset"] for entry in found.entries()[:2]] == ["stl10", "dtd"]


def test_there_are_never_many_lines(index: Index, add: Add, home: Home) -> None:
    for seed in range(20):
        add("mmcoa", {"multimodal": 10}, source="imagenet", dataset="cifar10", run_seed=seed)
    lines = lacks(index, home).lines()
    assert len(lines) <= MOST + 2
    assert any("more commands, which --json lists" in line for line in lines)


def test_iid_lacks_attacks_and_zero_shot(index: Index, add: Add, home: Home) -> None:
    run = add("mmcoa", {"image": 1, "clean": 2}, shots="5")
    found = lacks(index, home, task=IID)
    assert [test.command for test in found.tests] == [
        f"mmcoa evaluate --checkpoint {run.id} --dataset cifar10 --attack text,multimodal",
        "mmcoa evaluate --checkpoint ViT-B-32 --dataset cifar10 --attack image,text,multimodal,clean",
    ]
    assert {(untrained.method, untrained.shots) for untrained in found.untrained} == {
        ("ft-standard", "5"), ("tecoa", "5"),
    }  # fmt: skip


def test_iid_asks_nothing_of_the_users_own_data(index: Index, add: Add, home: Home) -> None:
    add("mmcoa", {"image": 1, "clean": 2, "text": 1, "multimodal": 1}, dataset="digits")
    assert lacks(index, home, task=IID) == Lacking()


def test_hostile_names_are_quoted(index: Index, add: Add, home: Home) -> None:
    add("clip", {"multimodal": 1}, dataset="cifar10", model="x; rm -rf ~")
    assert parsed(lacks(index, home).tests[0].command)["checkpoint"] == ("x; rm -rf ~",)


def test_the_limit_is_that_of_most_evaluations(index: Index, add: Add, home: Home) -> None:
    add("clip", {"multimodal": 1}, dataset="cifar10", n=500, limit=500)
    add("clip", {"multimodal": 1}, dataset="dtd", n=400)
    assert parsed(lacks(index, home).tests[0].command)["limit"] == 500
    add("clip", {"multimodal": 1}, dataset="birds", n=10_000)
    add("clip", {"multimodal": 1}, dataset="zoo", n=10_000)
    add("clip", {"multimodal": 1}, dataset="yaks", n=10_000)
    assert parsed(lacks(index, home).tests[0].command)["limit"] is None


def test_a_run_of_settings_that_make_no_sense_does_not_stop_a_report(index: Index, add: Add, home: Home) -> None:
    everywhere(add, "clip")
    run = add("mmcoa", {}, source="imagenet", shots="5")
    index.save_run(replace(run, shots="none", spec='{"shots": "none", "eps": "x"}'))
    everywhere(add, "tecoa")
    (test,) = lacks(index, home).tests
    assert test.command.startswith(
        f"mmcoa evaluate --checkpoint {run.id} --dataset imagenet,cifar10,stl10,dtd --attack"
    )


JOINED: tuple[dict[str, Any], ...] = (
    {}, {"eps": "2/255"}, {"steps": 10, "n": 500, "limit": 500}, {"seed": 3}, {"precision": "bf16"},
    {"norm": "l2", "eps": "0.5", "alpha": "0.0125"}, {"compat": "release"}, {"random_start": False},
)  # fmt: skip


@pytest.mark.parametrize("settings", JOINED, ids=str)
def test_what_is_typed_fills_the_gap_in_that_very_table(
    index: Index, add: Add, home: Home, settings: dict[str, Any]
) -> None:
    for method, attacks in (("clip", ("clean", "image")), ("tecoa", ("clean", "image")), ("mmcoa", ("clean",))):
        add(method, dict.fromkeys(attacks, 10), **settings)
    shown = ("clean", "image")
    (test,) = lacks(index, home, *shown, task=IID).tests
    add("mmcoa", {"image": 7}, **typed_so(test.command), **({"n": 500} if "n" in settings else {}))
    assert not lacks(index, home, *shown, task=IID).tests
    (panel,) = panels(rows(index, IID, attacks=shown), table=IID)
    assert [set(line.cells) for line in panel.lines] == [{*shown}] * 3


def typed_so(command: str) -> dict[str, Any]:
    """What an evaluation has that this command makes."""
    given = parsed(command)
    names = ("norm", "eps", "alpha", "steps", "limit", "seed", "precision", "compat")
    options = {name: given[name] for name in names if given[name] is not None}
    options |= parse(given["option"] or (), {"random_start": bool}, of="image")
    spec = evaluation_spec("", given["dataset"], ("image",), **options)
    return {
        **asdict(spec.settings(IMAGE)),
        "limit": spec.limit,
        **{n: getattr(spec, n) for n in ("seed", "precision", "compat")},
    }


def test_a_run_that_is_suggested_ends_with_a_test_as_the_others_had(index: Index, add: Add, home: Home) -> None:
    add("clip", {"image": 10, "clean": 20}, n=500, limit=500, steps=20, seed=2)
    command = lacks(index, home, "image", "clean", task=IID).entries()[-1]["command"]
    given = parsed(command)
    assert (given["test_limit"], given["test_steps"], given["seed"]) == (500, 20, (2,))
    add("tecoa", {"image": 10, "clean": 20})
    assert "--test" not in lacks(index, home, "image", task=IID).lines()[-1]
