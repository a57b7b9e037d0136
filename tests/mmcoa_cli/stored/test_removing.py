"""`mmcoa store ls`, `info`, `rm` and `gc`: what is listed is what is there; nothing that is in use goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import store
from mmcoa_cli.plans.resources import Resources, remember
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.examples import ExampleSet
from store.index import Index

from .conftest import app, shown, typed

HOLDING = """
import sys
from pathlib import Path
from store.files import lock
with lock(Path(sys.argv[1]), what="it"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """While another process holds its lock."""
    env = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], env=env, **pipes) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        yield
        process.communicate(b"\n")


def names(kind: str) -> list[str]:
    return [entry["name"] for entry in typed("ls")["stored"] if entry["kind"] == kind]


def files(root: Path) -> set[str]:
    found = (path for path in root.rglob("*") if path.is_file() and ".verified" not in path.parts)
    return {str(path.relative_to(root)) for path in found if not path.name.endswith((".lock", ".db-wal", ".db-shm"))}


def test_what_is_listed_is_there_with_its_size_and_its_uses(home: Home, run: str) -> None:
    entries = {(entry["kind"], entry["name"]): entry for entry in typed("ls")["stored"]}
    assert len(names("example set")) == 4 and {*names("run")} == {run, "clip-vit"} and names("dataset") == ["digits"]
    dataset, trained = entries["dataset", "digits"], entries["run", run]
    assert dataset["bytes"] == (home.datasets / "digits.h5").stat().st_size
    assert dataset["used_by"] == [run, "4 evaluations"]
    assert trained["uses"] == ["digits", "vit"] and trained["used_by"] == ["2 evaluations"]
    assert trained["bytes"] > sum(path.stat().st_size for path in home.checkpoints.rglob("*.safetensors"))
    assert {entry["kind"] for entry in typed("ls", "models")["stored"]} == {"model", "masked LM"}
    assert run in shown("ls", "runs") and "in all" in shown("ls")


def test_all_of_one_thing(home: Home, run: str) -> None:
    about = typed("info", run[:-3])
    assert about["run"]["spec"]["lr"] == 1e-3 and len(about["evaluations"]) == 2
    key = next(one["examples"] for one in about["evaluations"] if one["attack"] == "image")
    assert typed("info", key[:8])["spec"]["attack"] == "image"
    assert typed("info", "digits")["about"]["name"] == "digits"
    assert "digits.h5" in shown("info", "digits") and "lr: 0.001" in shown("info", run)
    with pytest.raises(UserError, match="nothing in the store is called 'digit'") as error:
        typed("info", "digit")
    assert error.value.hint.startswith("did you mean digits")


def test_a_run_goes_with_what_hangs_on_it_and_nothing_else(home: Home, run: str) -> None:
    before, index = files(home.root), Index(home.database_url)
    keys = [link.examples for link in index.links() if link.run_id == run]
    dry = typed("rm", run, "--dry-run")
    assert {entry["name"] for entry in dry["removed"]} == {run, *keys} and files(home.root) == before
    removed = typed("rm", run, "--yes")
    assert removed["bytes"] == dry["bytes"] > 0
    gone = before - files(home.root)
    assert gone == {name for name in before if run in name or any(key in name for key in keys)}
    assert [one.id for one in index.runs()] == ["clip-vit"] and len(index.links()) == 2
    assert typed("gc", "--dry-run")["removed"] == [] and typed("verify")["ok"]


def test_an_evaluation_goes_with_its_examples(home: Home, run: str) -> None:
    index = Index(home.database_url)
    link = next(link for link in index.links() if link.run_id == run)
    typed("rm", link.evaluation[:12], "--yes")
    assert link not in index.links() and len(index.links()) == 3
    assert not (home.examples / f"{link.examples}.h5").exists() and index.run(run)


def test_a_dataset_a_model_and_an_example_set(home: Home) -> None:
    link = next(link for link in Index(home.database_url).links())
    typed("rm", "digits", "mlm", link.examples, "--yes")
    assert not (home.datasets / "digits.h5").exists() and not (home.mlms / "mlm").exists()
    assert len(Index(home.database_url).links()) == 3 and (home.clips / "vit").is_dir()


def test_nothing_goes_without_an_answer(home: Home, run: str) -> None:
    before = files(home.root)
    for words in (["rm", run], ["gc", "--keep", "last"]):
        with pytest.raises(UserError, match="nothing is removed without an answer") as error:
            typed(*words)
        assert error.value.hint == "--yes removes it"
    assert files(home.root) == before
    assert CliRunner().invoke(app, ["store", "rm", "nothing", "--yes"]).exit_code == 1


@pytest.mark.parametrize("name", ["RUN", "digits", "vit", "KEY"])
def test_what_another_process_uses_is_refused(home: Home, run: str, name: str) -> None:
    """Its own lock, and that of an example set in the making, which may use any run, dataset or model."""
    before, key = files(home.root), next(link.examples for link in Index(home.database_url).links())
    own = {"RUN": home.runs / run, "digits": home.datasets / "digits.h5", "vit": home.clips / "vit"}
    set_ = home.examples / f"{key}.h5"
    for path in (own.get(name, set_), set_):
        with held(path), pytest.raises(UserError, match=r"used by another process|another process makes examples"):
            typed("rm", {"RUN": run, "KEY": key}.get(name, name), "--yes")
    assert files(home.root) == before and len(Index(home.database_url).links()) == 4


KILLED = """
import os, signal, sys
from mmcoa_cli.stored import removing
from mmcoa_cli.stored.listing import Inventory
from mmcoa_cli.settings import home
import store.files
moment, count = int(sys.argv[2]), 0

def counted(*arguments):
    global count
    count += 1
    if count == moment:
        os.kill(os.getpid(), signal.SIGKILL)

changes = ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
sys.addaudithook(lambda event, _: counted() if event in changes else None)
inventory = Inventory(home())
removing.perform(inventory, removing.removals(inventory, [sys.argv[1]]))
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_what_gc_finds(home: Home, run: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    index = Index(home.database_url)
    for moment in (1, 2, 4, 9):
        assert index.run(run) or moment > 1
        ended = subprocess.run([sys.executable, "-c", KILLED, run, str(moment)], env=env, capture_output=True)
        if ended.returncode != -signal.SIGKILL:
            break
        assert index.run(run) is None and len(index.links()) == 2  # rows go first
        assert typed("verify")["ok"]
    else:
        typed("gc", "--yes")
    typed("gc", "--yes")
    assert typed("gc", "--dry-run")["removed"] == []
    assert not [name for name in files(home.root) if run in name or name.endswith(".gone")]
    assert len(names("example set")) == 2


def test_garbage_is_what_nothing_refers_to(home: Home, run: str) -> None:
    """Each kind of it, and beside it what looks alike and is in use."""
    gone = ExampleSet(home.examples, {"weights": "of a run that is gone"}, n=2, block_size=2)
    for number in gone.missing():
        gone.write_block(number, {"label": np.arange(2)})
    gone.finish()
    begun = ExampleSet(home.examples, {"weights": "begun"}, n=2, block_size=2)
    begun.missing()
    with (home.examples / f".{gone.key}.h5.partial").open("w") as file:
        file.write("half")
    (home.datasets / ".digits.scratch").mkdir()
    (home.clips / "vit.old").mkdir()  # a model's name
    (home.checkpoints / "tecoa-lost" / "epoch-001").mkdir(parents=True)
    found = {(one["kind"], one["name"]) for one in typed("gc", "--dry-run")["removed"]}
    assert found == {
        ("example set", gone.key), ("remains", f"examples/.{gone.key}.h5.partial"), ("run", "tecoa-lost"),
        ("remains", "datasets/.digits.scratch"), ("optimizer state", f"{run}/epoch-002"),
    }  # fmt: skip
    more = typed("gc", "--dry-run", "--keep", "last", "--unfinished")["removed"]
    assert {(one["kind"], one["name"]) for one in more} - found == {
        ("checkpoint", f"{run}/epoch-001"), ("unfinished examples", begun.key),
    }  # fmt: skip
    with held(begun.path):
        assert begun.key not in str(typed("gc", "--dry-run", "--unfinished"))
    typed("gc", "--keep", "last", "--yes")
    assert typed("gc", "--keep", "last", "--dry-run")["removed"] == []
    assert typed("verify")["ok"] and (home.clips / "vit.old").is_dir() and begun.parts.is_dir()
    assert len(names("example set")) == 4


def test_without_an_index_only_remains_are_garbage(home: Home) -> None:
    for path in home.root.glob("index.db*"):
        path.unlink()
    (home.runs / ".one.partial").mkdir()
    assert [one["name"] for one in typed("gc", "--dry-run")["removed"]] == ["runs/.one.partial"]


def test_what_dry_runs_left_goes_when_nobody_typed_their_commands(home: Home) -> None:
    for command in ("mmcoa demo", "mmcoa train"):
        remember(command, Resources(60.0), home)
    old, new = sorted(home.planned.iterdir())
    os.utime(old, (0, 0))
    typed("gc", "--yes")
    assert not old.exists() and new.exists()


def test_garbage_collection_keeps_epochs_that_were_tested(home: Home, run: str) -> None:
    from mmcoa_cli.jobs import launch
    from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
    from mmcoa_cli.jobs.job import Job

    launch.run(Job(evaluate=evaluation_spec(run, ("digits",), ("clean",), limit=10, epoch=1)))
    kinds = [one["kind"] for one in typed("gc", "--keep", "last", "--dry-run")["removed"]]
    assert kinds == ["optimizer state"]
    assert json.loads((home.runs / run / "run.json").read_text())["identity"]["method"] == "tecoa"
