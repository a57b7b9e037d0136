"""Which switches a cell has, the steps that turn them on, and what came of them beside ours."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexes import RESULT, RUN

from mmcoa_cli import catalog
from mmcoa_cli.catalog import OURS, RELEASE, switches
from mmcoa_cli.jobs.job import Job, Start
from mmcoa_cli.jobs.known import Known
from mmcoa_cli.plans import typed_jobs
from mmcoa_cli.plans.explaining import explained
from mmcoa_cli.plans.missing import lacking
from mmcoa_cli.plans.plan import Plan, compose
from mmcoa_cli.plans.request import PAPER, Request, Scale, remember, remembered
from mmcoa_cli.plans.selection import Selection, look_up
from mmcoa_cli.reports.explanation import Effect, Explained
from mmcoa_cli.reports.reading import rows_of, together
from mmcoa_cli.reports.report import make_report
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

from .conftest import data

EVALUATED = ["positions", "case", "words", "single", "ties"]  # switches of the test on images of the own size
TRAINED = {
    "clip": [],
    "ft-standard": ["adamw"],
    "tecoa": ["leak", "adamw"],
    "mmcoa": ["leak", "text-in-training", "adamw"],
}


def plan_of(name: str, *sources: str, home: Home, sizes: dict[str, int], **options: Any) -> Plan:
    found = {one: replace(data(one), pixel_size=size) for one, size in sizes.items()}
    row = catalog.tables()[name]
    selection = Selection(row, tuple(found[one] for one in sources), tuple(found[one] for one in row.tested_on))
    return compose(Request((name,), explain=True, **options), PAPER, [selection], known=Known(home))


@pytest.fixture
def nowhere(tmp_path: Path) -> Home:
    return Home(tmp_path / "nowhere", f"sqlite:///{tmp_path / 'nowhere' / 'index.db'}")


def test_a_line_for_each_switch_that_changes_something(nowhere: Home) -> None:
    plan = plan_of("table1", "cifar10", "tinyimagenet", home=nowhere, sizes={"cifar10": 32, "tinyimagenet": 64})
    found: dict[tuple[str, str], set[str]] = {}
    for step in plan.steps:
        if step.kind == "evaluate":
            label, _, switch = step.label.partition(" + ")
            found.setdefault((label.partition(",")[0], step.tested_on[0]), set()).add(switch or OURS)
    for method, trained in TRAINED.items():
        own = {OURS, RELEASE, *EVALUATED, *trained}
        assert found[method, "cifar10"] == own  # the release, too, attacks its images at their own size
        assert found[method, "tinyimagenet"] == own | {"pixels"}
    assert {*switches()} == {*EVALUATED, *TRAINED["mmcoa"], "pixels"}


def test_each_step_turns_on_what_it_says_and_nothing_is_done_twice(nowhere: Home) -> None:
    plan = plan_of("table1", "cifar10", home=nowhere, sizes={"cifar10": 32})
    jobs = [step.work for step in plan.steps if isinstance(step.work, Job)]
    assert max(Counter((step.label, step.work) for step in plan.steps if isinstance(step.work, Job)).values()) == 1
    trained = [job.train for job in jobs if job.train]
    assert len(trained) == len({*trained})
    commands: dict[str, list[str]] = {}
    for step in plan.steps:
        commands.setdefault(step.label, []).append(step.command)

    def options(label: str) -> list[list[str]]:
        ours = {*shlex.split(" ".join(commands[label.partition(" + ")[0]]))}
        return [[word for word in shlex.split(command) if word not in ours] for command in commands[label]]

    assert options("mmcoa, full + leak") == [["--compat", "leak"], []]
    assert options("mmcoa, full + text-in-training") == [["--compat", "text"], []]
    assert options("tecoa, full + adamw") == [["--optimizer", "adamw"], []]
    for switch in ("positions", "case", "words", "single"):
        assert options(f"clip, zero-shot + {switch}") == [["--attack", "text,multimodal", "--compat", switch]]
    assert options("tecoa, full + ties") == [["--compat", "ties"]]
    assert options("mmcoa, full + release") == [
        ["--compat", "release"],
        ["--attack", "clean,image", "--compat", "ties"],
        ["--attack", "text,multimodal", "--compat", "release,ties"],
    ]


def test_other_tables_have_theirs(nowhere: Home) -> None:
    """Figure 3's means, retrieval, where ties are expectations already, and learned prompts, which take SGD."""
    row = catalog.tables()["table7"]
    plan = plan_of("table7", *row.sources, home=nowhere, sizes=dict.fromkeys(row.sources, 32))
    labels = {step.label for step in plan.steps}
    assert {"vp, full + leak", "advpt, full + positions"} < labels
    assert not {"vp, full + adamw", "advpt, full + leak", "advpt, full + adamw"} & labels
    retrieval = plan_of("table6", "imagenet", home=nowhere, sizes={"imagenet": 224, "mscoco": 224})
    switched = {step.label.partition(" + ")[2] for step in retrieval.steps}
    assert switched == {"", RELEASE, *EVALUATED, "leak", "text-in-training", "adamw"} - {"ties"}
    times = plan_of("table8", "cifar10", home=nowhere, sizes={"cifar10": 32})
    assert not any("+" in step.label for step in times.steps)


def test_what_it_cannot_be_asked_with_and_that_others_go_on_where_they_were(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a part at a time"):
        Request(("table1",), explain=True, compat="release")
    home, order = Home(tmp_path, ""), Request(("table1",), preset="quick")
    remember(order, Scale("5"), home)
    assert remembered(order, home) == Scale("5") and remembered(replace(order, explain=True), home) is None


@pytest.fixture
def tested(home: Home) -> tuple[Plan, Home]:
    """`vit` under the text attack, as ours and with each switch that is one of it, on 40 images of digits."""
    order = Request(("table1",), source="digits", model="vit", mlm="mlm", explain=True)
    digits = look_up("digits", home)
    assert digits
    selection, scale = Selection(catalog.tables()["table1"], (digits,)), Scale(limit=40, steps=1)
    plan = compose(order, scale, [selection], known=Known(home))
    jobs = [step.work for step in plan.steps if isinstance(step.work, Job) and step.label.startswith("clip")]
    small = [job.evaluate for job in jobs if job.evaluate and job.evaluate.pixel_size is None]
    typed_jobs.evaluate([spec.changed(attacks=("text",)) for spec in small if "text" in spec.attacks], Start())
    return plan, home


def test_what_each_switch_moves(tested: tuple[Plan, Home]) -> None:
    """By the stored outcomes: the values, their differences, sample by sample; and a line for each in words."""
    plan, home = tested
    report = explained(catalog.tables()["table1"], plan, home)
    found = {row["switch"]: row for row in report.dicts()}
    assert {row["attack"] for row in report.dicts()} == {"text"} and [*found] == [OURS, *EVALUATED]
    ours = found[OURS]["value"]
    for name, row in found.items():
        assert row["difference"] == pytest.approx(row["value"] - ours) and row["n"] == 40
        assert row["paired"] and (name == OURS or row["difference_low"] <= row["difference"] <= row["difference_high"])
    index, known = Index(home.database_url), Known(home)
    assert {one.metric for one in index.evaluation(found["ties"]["evaluation"])} >= {"robust_accuracy"}
    examples = {name: index.evaluation(row["evaluation"])[0].examples for name, row in found.items()}
    assert examples["ties"] == examples[OURS] and len({*examples.values()}) == len(EVALUATED)  # nothing attacked again
    run = known.zero_shot("vit", method="clip")
    assert run
    (trial,) = known.trials(run, plan.order.settings(plan.scale).test_of("", _text()))
    column = trial.examples("text").values
    assert found[OURS]["value"] == pytest.approx(float(np.mean(column("credit"))))
    assert found["ties"]["value"] == pytest.approx(float(np.mean(column("prediction") == column("label"))))
    (sheet,) = report.sheets()
    values = [line.label for line in sheet.lines if line.kind == "value"]
    assert values == [OURS, *(f"+ {name}" for name in EVALUATED)] and sheet.columns == ["text"]
    assert any("none of these results has a use for" in line for line in sheet.remarks)
    table = catalog.tables()["table1"]
    missing = make_report(table, home, missing=lacking).missing
    assert missing and not any("--compat" in entry["command"] for entry in missing.entries())


def test_an_average_is_of_all_datasets_or_none(home: Home) -> None:
    """Beside an average of two datasets stands none of one: neither the paper's, nor that of a switch which failed."""
    table, n = catalog.tables()["fig3"], 100
    run = replace(RUN, id="tecoa-1", method="tecoa", source="imagenet", shots="full", status="complete")
    index = Index(home.database_url)
    index.save_run(run)
    effects = []
    for dataset, switch, value in (
        ("cifar10", OURS, 0.5), ("cifar100", OURS, 0.3), ("cifar10", "leak", 0.4), ("cifar10", catalog.PAPER, 0.6),
        ("cifar10", "adamw", 0.5),
    ):  # fmt: skip
        name = f"{dataset}-{switch}"
        index.save_results([replace(RESULT, evaluation=name, run_id=run.id, dataset=dataset, attack="image", n=n)])
        (row,) = rows_of(together(index.results(evaluations=[name])))
        cell = catalog.Cell("tecoa", "imagenet", "full", dataset=dataset, attack="image")
        effects.append(Effect(cell, switch, row, value, n, value - 0.5))
    failed = {(effects[1].cell, "leak"), (effects[1].cell, catalog.PAPER)}
    report = Explained(table, [one.row for one in effects], effects=tuple(effects), absent=frozenset(failed))
    (sheet,) = report.sheets()
    told = {line.label: line.cells for line in sheet.lines if line.kind == "value"}
    assert told == {
        OURS: ["40.00"],
        "+ adamw": ["40.00"],
    }  # where it is none of a cell, it moves it by 0


def _text() -> catalog.Cell:
    return catalog.Cell("clip", dataset="digits", attack="text")
