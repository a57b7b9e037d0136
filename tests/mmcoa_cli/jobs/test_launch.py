"""Several processes, and processes that are killed: the result is that of one process that was never interrupted."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.job import Conduct, Job, Start, command_of, command_of_training
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import TrainSpec, train_spec
from mmcoa_cli.jobs.worker import perform
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_state, load_tensors
from store.errors import UserError
from store.example_reading import damage
from store.index import Index

from .conftest import SMALL_RUN

TRAIN = train_spec("mmcoa", **SMALL_RUN, lr=1e-3)
EVALUATE = evaluation_spec(
    "vit", ("digits",), mlm="mlm", eps="8/255", alpha="4/255", steps=10, limit=64, batch_size=6
)  # ten blocks of 6 images and one of 4


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def weights(home: Home, run: str) -> dict[str, Tensor]:
    return load_tensors(epochs_in(home.checkpoints / run)[-1])


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def examples(home: Home) -> dict[str, str]:
    """The hash of the content of each example set in the index, by its attack."""
    found = {}
    for _, row in Index(home.database_url).results():
        path = home.examples / f"{row.examples}.h5"
        assert damage(path) is None and not path.with_suffix(".parts").exists()
        with h5py.File(path) as file:
            found[row.attack] = str(file.attrs["checksum"])
    return found


def unfinished_blocks(home: Home) -> list[Path]:
    """The files of the blocks of sets that are not whole."""
    found = home.examples.glob("*.parts/*.h5")
    return [part for part in found if not part.parent.with_suffix(".h5").exists()]


def words(spec: EvaluationSpec) -> list[str]:
    """The command line of an evaluation, behind the verb."""
    return shlex.split(command_of(Job(evaluate=spec)))[2:]


def train_words(spec: TrainSpec) -> list[str]:
    return shlex.split(command_of_training(spec))[1:]


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of a command and of all workers that it started."""
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()


@pytest.mark.slow
def test_examples_are_the_same_after_a_kill_and_by_any_number_of_processes(
    new_home: Callable[[str], Home], typed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes go on where one was killed, and make from the beginning what was not begun."""
    one, killed = new_home("one"), new_home("killed")
    first = typed(killed, "attack", "image", *words(EVALUATE))
    first.until(lambda: len(unfinished_blocks(killed)) > 2)
    kill(first.process)
    assert not list(killed.examples.glob("*.h5"))  # one pass makes all sets: none is whole
    copy = Home(killed.root.with_name("again"), f"sqlite:///{killed.root.with_name('again')}/index.db")
    shutil.copytree(killed.root, copy.root)
    with_two = typed(copy, "evaluate", *words(EVALUATE), "--processes", "2")
    for home in (one, killed):
        monkeypatch.setenv("MMCOA_HOME", str(home.root))
        launch.run(Job(evaluate=EVALUATE))
    assert with_two.end()[0] == 0
    expected = examples(one)
    assert set(expected) == {"clean", "image", "text", "multimodal"}
    assert examples(killed) == examples(copy) == expected


@pytest.mark.slow
def test_weights_are_the_same_after_a_kill(
    new_home: Callable[[str], Home], typed: Callable[..., Any], accelerator: Accelerator
) -> None:
    spec = TRAIN.changed(epochs=6)
    whole, killed = new_home("whole"), new_home("killed")
    run = make_plan(spec, whole).run
    first = typed(killed, *train_words(spec), "--no-evaluate", "--keep", "all")
    first.until(lambda: epochs_in(killed.checkpoints / run))
    kill(first.process)
    assert train(spec, whole, accelerator).id == run
    assert 0 < len(epochs_in(killed.checkpoints / run)) < 6
    (row,) = Index(killed.database_url).runs()
    assert (row.id, row.status) == (run, "running")
    copy = Home(killed.root.with_name("again"), f"sqlite:///{killed.root.with_name('again')}/index.db")
    shutil.copytree(killed.root, copy.root)
    again = typed(killed, "train", "--resume", run[:-2], "--no-evaluate", "--keep", "all", "--json")
    with_two = typed(copy, *train_words(spec), "--no-evaluate", "--keep", "all", "--processes", "2")
    code, out, err = again.end()
    assert code == 0, err
    assert (told := json.loads(out))["rows"] == [] and told["run"] == run
    assert with_two.end()[0] == 0
    for epoch in range(6):
        one, other = (load_tensors(epochs_in(home.checkpoints / run)[epoch]) for home in (whole, killed))
        assert furthest(one, other) == 0
    states = [load_state(epochs_in(home.checkpoints / run)[-1]) for home in (whole, killed)]
    assert states[0] and states[1] and furthest(states[0], states[1]) == 0
    assert furthest(weights(whole, run), weights(copy, run)) < 1e-4


def test_an_unfinished_run_is_not_evaluated(home: Home, accelerator: Accelerator) -> None:
    plan = make_plan(TRAIN, home)
    run = train(TRAIN, home, accelerator)
    Index(home.database_url).save_run(replace(run, status="running", finished_at=None))
    with pytest.raises(UserError, match="is not finished") as raised:
        launch.run(Job(evaluate=replace(EVALUATE, checkpoint=plan.run)))
    assert raised.value.hint == f"mmcoa train --resume {plan.run}"


def test_a_process_that_is_not_one_of_as_many_as_asked_says_so(home: Home) -> None:
    with pytest.raises(UserError, match="2 processes were asked for and 1 started") as raised:
        perform(Job(evaluate=EVALUATE), processes=2)
    assert "--processes 1" in raised.value.hint


def test_the_command_that_starts_processes(home: Home, tmp_path: Path) -> None:
    job, file = Job(TRAIN), tmp_path / "two.yaml"
    assert launch.command_line(job, None, Start()) == ""
    *variables, python, module, name, document, port = shlex.split(launch.command_line(job, None, Start(2)))
    assert {"WORLD_SIZE=2", "RANK=0", "MASTER_PORT=PORT"} <= set(variables)
    assert (python, module, name, port) == (sys.executable, "-m", "mmcoa_cli.jobs.worker", "PORT")
    assert TrainSpec(**json.loads(document)["train"]) == TRAIN
    file.write_text("num_processes: 3\nuse_cpu: true\n", encoding="utf8")
    for start, processes in ((Start(1, file), "3"), (Start(2, file), "2")):
        words = shlex.split(launch.command_line(job, None, start))
        assert words[1:7] == [
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            str(file),
            "--num_processes",
            processes,
        ]
        assert json.loads(words[-2])["processes"] == int(processes)
    file.write_text("[", encoding="utf8")
    with pytest.raises(UserError, match="is no configuration"):
        launch.command_line(job, None, Start(1, file))


def test_no_process_at_all(home: Home) -> None:
    with pytest.raises(UserError, match="--processes 0"):
        launch.run(Job(evaluate=EVALUATE), Start(processes=0))
    with pytest.raises(UserError, match="--processes 1000 is too many for this machine"):
        launch.resolved_start(Start(processes=1000))
    with pytest.raises(UserError, match="--workers 100000 is too large"):
        Conduct(workers=100000)


@pytest.mark.slow
def test_a_worker_that_fails_says_why_in_one_line(home: Home, typed: Callable[..., Any]) -> None:
    """The weights are cut, which is seen when a worker loads them."""
    weights = home.clips / "vit" / "model.safetensors"
    cut = weights.read_bytes()[:-7]
    weights.unlink()  # it is a link to that of other tests
    weights.write_bytes(cut)
    code, out, err = typed(home, *train_words(TRAIN), "--no-evaluate", "--processes", "2").end()
    assert (code, out) == (1, "")
    first, second = err.splitlines()[-2:]
    assert "Traceback" not in err
    assert first.startswith("error: ") and "vit" in first
    assert second.startswith("hint: ")


@pytest.mark.slow
def test_a_worker_that_dies_is_told_of_in_one_line(home: Home, typed: Callable[..., Any]) -> None:
    command = typed(home, *train_words(TRAIN.changed(epochs=200)), "--processes", "2")
    command.until(lambda: list(home.checkpoints.glob("*/epoch-001")))
    worker = psutil.Process(command.process.pid).children()[-1]
    worker.kill()
    code, out, err = command.end()
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.splitlines()[-2:] == [
        "error: a worker process died; what was finished is kept",
        "hint: type the same command again to go on, or with --processes 1 to see the error in full",
    ]


@pytest.mark.slow
def test_a_worker_that_hangs_is_told_of_in_one_line(home: Home, typed: Callable[..., Any]) -> None:
    command = typed(home, *train_words(TRAIN.changed(epochs=2000)), "--processes", "2", MMCOA_WAIT="20")
    command.until(lambda: list(home.checkpoints.glob("*/epoch-001")))
    psutil.Process(command.process.pid).children()[-1].suspend()
    code, out, err = command.end()
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.splitlines()[-2:] == [
        "error: a worker process did not answer for 20 s; what was finished is kept",
        "hint: type the same command again to go on; MMCOA_WAIT=SECONDS waits longer",
    ]


def test_how_long_processes_wait_is_a_number(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOA_WAIT", "long")
    with pytest.raises(UserError, match="MMCOA_WAIT=long is no number of seconds"):
        perform(Job(evaluate=EVALUATE))


SIGNALS = [
    (signal.SIGINT, "interrupted", "1"),
    (signal.SIGINT, "interrupted", "2"),
    (signal.SIGTERM, "terminated", "1"),
    (signal.SIGHUP, "the terminal was closed", "1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "said", "processes"), SIGNALS)
def test_a_signal_to_all_processes_of_a_command(
    home: Home, typed: Callable[..., Any], tmp_path: Path, number: int, said: str, processes: str
) -> None:
    """As a terminal sends Ctrl-C, and Slurm SIGTERM; the launcher alone gets it in the next test."""
    command = typed(home, *train_words(TRAIN.changed(epochs=200)), "--processes", processes, **temporary(tmp_path))
    command.until(lambda: list(home.checkpoints.glob("*/epoch-001")))
    workers = psutil.Process(command.process.pid).children()
    os.killpg(command.process.pid, number)
    assert_stopped(command, said, 128 + number)
    assert not psutil.wait_procs(workers, timeout=300)[1]
    assert not list((tmp_path / "tmp").iterdir())
    assert not list(home.root.rglob("*.partial"))


@pytest.mark.slow
def test_a_signal_to_the_launcher(home: Home, typed: Callable[..., Any], tmp_path: Path) -> None:
    command = typed(home, *train_words(TRAIN.changed(epochs=200)), "--processes", "2", **temporary(tmp_path))
    command.until(lambda: list(home.checkpoints.glob("*/epoch-001")))
    workers = psutil.Process(command.process.pid).children()
    command.process.terminate()
    assert_stopped(command, "terminated", 143)
    assert len(workers) == 2 and not any(worker.is_running() for worker in workers)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.slow
def test_a_killed_launcher_takes_its_workers_along(home: Home, typed: Callable[..., Any], tmp_path: Path) -> None:
    command = typed(home, *train_words(TRAIN.changed(epochs=200)), "--processes", "2", new=True, **temporary(tmp_path))
    command.until(lambda: list(home.checkpoints.glob("*/epoch-001")))
    workers = psutil.Process(command.process.pid).children()
    command.process.kill()  # and nobody waits for it: as a program that this one started, it stays a zombie
    assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=300)[1]
    assert not list((tmp_path / "tmp").iterdir())


def temporary(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    return {"TMPDIR": str(tmp_path / "tmp")}


def assert_stopped(command: Any, said: str, code: int) -> None:
    ended, out, err = command.end()
    assert (ended, out) == (code, "")
    assert "Traceback" not in err and "torch" not in err
    lines = err.splitlines()
    (run,) = [line.removeprefix("run ") for line in lines if line.startswith("run ")]
    assert run.startswith("mmcoa-digits-2shot-")
    assert lines[-2:] == [
        f"error: {said}; what was finished is kept",
        f"hint: type the same command again to go on with run {run}",
    ]
