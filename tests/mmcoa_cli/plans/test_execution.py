"""Plans carried out on digits: everything once, the second time nothing; and what a failure takes along."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.known import Known
from mmcoa_cli.plans.execution import Execution, Failure, verdict
from mmcoa_cli.plans.missing import lacking
from mmcoa_cli.plans.plan import Plan, compose
from mmcoa_cli.plans.request import Request, Scale
from mmcoa_cli.plans.selection import Data, Selection
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors, save_checkpoint
from store.index import Index

ORDER = Request(("table1",), preset="quick", source="digits", model="vit", mlm="mlm")
SMALL = Scale("1", 1, 20, 3)
DIGITS, NOWHERE = Data("digits", 10, 1297, 500, True), Data("nowhere", 10, 100, 20, False)


def plan(home: Home, *sources: Data, order: Request = ORDER, scale: Scale = SMALL) -> Plan:
    return compose(order, scale, [Selection(order.tables[0], sources or (DIGITS,))], known=Known(home))


def carry_out(made: Plan, home: Home) -> list[Failure]:
    return Execution(home).what_can_be(made.steps)


def todo(home: Home, *, order: Request = ORDER, scale: Scale = SMALL) -> list[str]:
    return [step.title for step in plan(home, order=order, scale=scale).todo]


def evaluations(home: Home) -> set[str]:
    return {result.evaluation for _, result in Index(home.database_url).results()}


def replace_model(home: Home) -> None:
    """Put other weights under the name `vit`."""
    folder = home.clips / "vit"
    tensors = load_tensors(folder)
    tensors["visual.proj"] += 1e-3
    files = {name: (folder / name).read_text() for name in ("open_clip_config.json", "source.json")}
    save_checkpoint(folder, tensors=tensors, spec={}, files=files)


def test_everything_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    first = plan(home)
    assert [step.kind for step in first.todo] == ["evaluate", *["train", "evaluate"] * 3]
    assert carry_out(first, home) == [] and verdict([], first.steps) is None
    out, err = capsys.readouterr()
    assert out == "" and "7/7 test mmcoa, 1-shot from digits on digits" in " ".join(err.split())
    assert todo(home) == []
    index = Index(home.database_url)
    assert {run.method for run in index.runs()} == {"clip", "ft-standard", "tecoa", "mmcoa"}
    assert len(evaluations(home)) == 4 * 4
    last = plan(home).steps[-1]
    (run,) = [run for run in index.runs() if run.method == "mmcoa"]
    assert last.command.startswith(f"mmcoa evaluate --checkpoint {run.id} ")

    # what is asked differently is not there
    tests = [title for title in (step.title for step in first.todo) if title.startswith("test")]
    assert todo(home, scale=replace(SMALL, steps=4)) == todo(home, scale=replace(SMALL, limit=30)) == tests
    assert len(todo(home, order=replace(ORDER, seed=1))) == len(todo(home, order=replace(ORDER, compat="release"))) == 7
    assert len(todo(home, scale=replace(SMALL, epochs=2))) == 6  # the model as it comes was tested
    known = Known(home)
    asked = evaluation_spec("vit", ("digits",), mlm="mlm", limit=20, steps=4)
    assert known.missing(known.zero_shot("vit", method="clip"), asked) == ("image", "multimodal")
    assert known.missing(known.zero_shot("vit", method="clip"), asked.changed(steps=3, batch_size=7)) == ()
    # the masked LM has no part in tecoa's training, only in its test
    other_mlm = todo(home, order=replace(ORDER, mlm="other"))
    assert "train tecoa, 1-shot on digits" not in other_mlm and "train mmcoa, 1-shot on digits" in other_mlm

    # files that are gone, and a model that was replaced since
    (examples,) = {e.examples for r, e in index.results(attacks=["image"]) if r.method == "tecoa"}
    (home.examples / f"{examples}.h5").unlink()
    assert todo(home) == ["test tecoa, 1-shot from digits on digits"]
    for epoch in (home.checkpoints / run.id).iterdir():
        epoch.rename(home.root / "elsewhere")
    assert "train mmcoa, 1-shot on digits" in todo(home)
    replace_model(home)
    assert len(todo(home)) == 7


def test_a_failure_takes_along_only_what_needs_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(home, NOWHERE, DIGITS)
    failures = carry_out(made, home)
    titles = {failure.title for failure in failures}
    assert failures[0].title == "fetch nowhere" and "nowhere" in failures[0].error and failures[0].hint
    assert titles == {step.title for step in made.todo if "nowhere" in step.title}
    assert len(failures) == 1 + 1 + 3 + 3
    assert all("not begun" in failure.error for failure in failures[1:])
    error = verdict(failures, made.steps)
    assert error and "1 of 15 steps failed, 7 that need them were not begun; the first, fetch nowhere" in str(error)
    assert "type the same command again" in error.hint
    assert todo(home) == []
    assert capsys.readouterr().err.count("error:") == 1


@pytest.mark.parametrize("hint", ["", "free some space, and type the same command again", "mmcoa fetch x"])
def test_what_to_type_is_said_once(home: Home, hint: str) -> None:
    error = verdict([Failure("fetch x", "it fails", hint)], plan(home).steps)
    assert error and error.hint.count("type the same command again") == 1 and not error.hint.startswith(";")


def test_a_run_that_fails_takes_its_tests_along(home: Home) -> None:
    """No class of digits has 500 images: no run can be trained, but the model as it comes is tested."""
    made = plan(home, scale=replace(SMALL, shots="500"))
    failures = carry_out(made, home)
    assert [failure.error.startswith("not begun") for failure in failures] == [False, True] * 3
    assert "--shots 500" in failures[0].error
    assert len(evaluations(home)) == 4


def test_runs_of_another_version_do_no_harm(home: Home) -> None:
    carry_out(replace(plan(home), steps=plan(home).steps[:5]), home)
    index = Index(home.database_url)
    (run,) = [run for run in index.runs() if run.kind == "train"]
    odd = json.dumps({**json.loads(run.spec), "temperature": 3})
    index.save_run(replace(run, id="odd", spec=odd))
    index.save_run(replace(run, id="odd-method", spec=json.dumps({**json.loads(run.spec), "method": "new"})))
    assert todo(home)[0] == "test ft-standard, 1-shot from digits on digits"


def test_models_between_two_are_made_and_tested_once(home: Home) -> None:
    """At the ends are the weights of the model and of the run: their examples are used, those of others are made."""
    table = catalog.tables()["fig8"].narrowed(method=["tecoa"], source=["digits"], shots=["1"], w=[0.0, 0.5, 1.0])
    between = Selection(table.narrowed(dataset=["digits"], attack=["clean", "image"]), (DIGITS,), (DIGITS,))

    def made(scale: Scale = SMALL) -> Plan:
        return compose(ORDER, scale, [between], known=Known(home))

    assert [step.kind for step in made().todo] == ["train", "interpolate", *["evaluate"] * 3]
    assert carry_out(made(), home) == [] and not made().todo
    assert carry_out(plan(home), home) == [] and len(list(home.examples.glob("*.h5"))) == 5 * 4 - 2
    index = Index(home.database_url)
    ids = {run.id for run in index.runs() if run.kind == "interpolated"}
    assert len(ids) == 3 and all(step.command.split()[3] in ids for step in made().steps if step.w is not None)
    (one,) = [name for name in ids if name.endswith("-w0.5")]
    shutil.rmtree(home.checkpoints / one)
    assert [step.title for step in made().todo] == [
        "interpolate between vit and tecoa, 1-shot from digits", "test tecoa, 1-shot from digits at w 0.5 on digits",
    ]  # fmt: skip

    def ways(*weights: float) -> list[str]:
        finer, attacks = table.narrowed(w=weights), ("clean", "image")
        found = lacking(index.runs(), rows(index, finer, attacks=attacks), table=finer, attacks=attacks, home=home)
        return [entry["command"] for entry in found.entries() if " interpolate " in entry["command"]]

    (run,) = [run.id for run in index.runs() if run.kind == "train" and run.method == "tecoa"]
    assert ways(0.0, 0.5, 1.0) == []
    assert ways(0.0, 0.25, 0.5) == [f"mmcoa interpolate vit {run} --steps 5"]
