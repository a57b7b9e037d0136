"""Jobs that are done at once: to the same bits, whatever fails or ends beside them."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ready import Started, variables
from rich.text import Text

from mmcoa_cli.catalog import Kind
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.plans.execution import Execution
from mmcoa_cli.plans.steps import Step, fetching
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal import console
from mmcoa_cli.terminal.several import Several
from store.index import Index

from ..conftest import Typed

SMALL = (
    "--method", "tecoa", "--dataset", "digits", "--model", "vit", "--mlm", "mlm", "--shots", "2", "--steps", "2",
    "--batch-size", "4", "--test-limit", "20", "--test-steps", "2", "--json",
)  # fmt: skip
MADE = ("checkpoints/*/epoch-*/model.safetensors", "examples/*.h5")


@pytest.fixture
def do(typed: Callable[..., Typed]) -> Callable[..., Started]:
    """Trains and tests a run of each rate in a store, so many at once."""

    def start(home: Home, at_once: int, epochs: int, *rates: str, **more: str) -> Started:
        options = ("--jobs", str(at_once), "--epochs", str(epochs), "--lr", ",".join(rates))
        return typed(home, "train", *SMALL, *options, **more).process

    return start


def runs(out: str) -> list[str]:
    """Those that a command printed."""
    return [*dict.fromkeys(row["run"] for row in json.loads(out)["rows"])]


def files(home: Home) -> dict[str, bytes]:
    return {str(path.relative_to(home.root)): path.read_bytes() for kind in MADE for path in home.root.glob(kind)}


@pytest.mark.slow
def test_the_bits_and_the_order_are_those_of_one_behind_the_other(
    new_home: Callable[[str], Home], do: Callable[..., Started]
) -> None:
    """Also where one of them fails, whose error is told with its number."""
    one, several = new_home("one"), new_home("several")
    rates = ("1e-3", "1e6", "1e-4", "1e-5")
    out, said = do(one, 1, 2, *rates).communicate(300)
    process = do(several, 2, 2, *rates)
    beside, err = process.communicate(300)
    assert process.returncode == 1
    assert runs(out) == runs(beside) and len(runs(out)) == 3, said + err
    assert len(files(one)) > 3 * 3 and files(one) == files(several)
    lines = err.splitlines()
    assert [line[:3] for line in lines if " error: " in line] == ["2/4"] and "Traceback" not in err
    assert "error: 1 of 4 steps failed; the first, train tecoa, 2-shot on digits, lr 1000000.0" in err
    assert any(line.startswith("4/4 tecoa on digits: 40 images in ") for line in lines)
    assert sum(line.startswith("all of it took") for line in lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False])
def test_a_signal_ends_all_and_they_go_on(home: Home, do: Callable[..., Started], *, to_all: bool) -> None:
    process = do(home, 2, 400, "1e-3", "1e-4")
    while len(list(home.checkpoints.glob("*/epoch-*"))) < 2:
        assert process.poll() is None
    workers = psutil.Process(process.pid).children()
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(300)
    assert (process.returncode, out) == (130, "") and "Traceback" not in err
    assert err.splitlines()[-2:] == [
        "error: interrupted; what was finished is kept",
        "hint: type the same command again to go on",
    ]
    assert len(workers) == 2 and not any(worker.is_running() for worker in workers)
    assert not list(home.root.rglob("*.partial"))
    assert {run.status for run in Index(home.database_url).runs() if run.kind == "train"} == {"running"}
    again = do(home, 2, 400, "1e-3", "1e-4")
    while b"goes on at" not in (read := Path(f"/proc/{again.pid}/fd/2").read_bytes()):
        assert again.poll() is None, read
    again.terminate()
    assert again.wait(300) == 143


@pytest.mark.slow
def test_a_process_that_dies_takes_no_other_with_it(home: Home, do: Callable[..., Started]) -> None:
    process = do(home, 2, 60, "1e-3", "1e-4")
    while len(list(home.checkpoints.glob("*/epoch-*"))) < 2:
        assert process.poll() is None
    psutil.Process(process.pid).children()[0].kill()
    out, err = process.communicate(300)
    assert process.returncode == 1 and len(runs(out)) == 1 and "Traceback" not in err
    assert "1/2 tecoa on digits: stopped at " in err
    assert "error: a worker process died; what was finished is kept\n" in err
    assert "error: 1 of 2 steps failed; the first, train tecoa, 2-shot on digits, lr 0.001" in err
    assert sorted(run.status for run in Index(home.database_url).runs()) == ["complete", "running"]


@pytest.mark.slow
def test_they_end_with_the_process_that_waits_for_them(home: Home, do: Callable[..., Started]) -> None:
    process = do(home, 2, 400, "1e-3", "1e-4")
    while len(list(home.checkpoints.glob("*/epoch-*"))) < 2:
        assert process.poll() is None
    workers = psutil.Process(process.pid).children()
    process.kill()
    assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=60)[1]


PRETENDED = """
import os
from pathlib import Path

import torch

from mmcoa_cli import processes

processes.DRIVERS = (Path("/"),)
torch.cuda.device_count = lambda: 2
with Path(os.environ["SEEN"]).open("a") as seen:
    print(os.environ["CUDA_VISIBLE_DEVICES"], file=seen)
"""


@pytest.mark.slow
def test_each_process_sees_one_gpu(home: Home, do: Callable[..., Started], tmp_path: Path) -> None:
    """Of those that this one sees: a plugin tells what it finds in each."""
    (tmp_path / "pretended.py").write_text(PRETENDED)
    path = os.pathsep.join([variables()["PYTHONPATH"], str(tmp_path)])
    plugin = {"PYTHONPATH": path, "MMCOA_PLUGINS": "pretended", "SEEN": str(tmp_path / "seen")}
    process = do(home, 2, 1, "1e-3", "1e-4", CUDA_VISIBLE_DEVICES="GPU-a,MIG-b", **plugin)
    _, err = process.communicate(300)
    assert process.returncode == 0, err
    assert sorted((tmp_path / "seen").read_text().split()) == ["GPU-a", "GPU-a,MIG-b", "MIG-b"]


def test_where_all_need_what_failed_it_ends(home: Home) -> None:
    of_it = Step(Job(evaluate=evaluation_spec("nowhere", ("digits",))), "test nowhere on digits")
    failures = Execution(home, at_once=2).what_can_be([fetching("nowhere", Kind.clip), of_it, of_it])
    assert [failure.error.startswith("not begun") for failure in failures] == [False, True, True]


@pytest.mark.parametrize("live", [True, False])
def test_what_several_tell(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    made = console.Terminal(file=text, force_terminal=live, color_system=None, width=100)
    monkeypatch.setattr(console, "err", made)
    several: Any = Several()
    with console.side_by_side():
        for head, what in (("1/2", "pixels"), ("2/2", "words")):
            several.begin(head, 0, what, 10, "images", 0)
        several.line("2/2", Text("run a"))
        several.reach("1/2", 0, 10, "loss 1.0")
        several.end("1/2", 0, True)
        several.stop("2/2")
    whole, ended = ("100%", "0%") if live else ("10 images in", "stopped at 0 of 10 images")
    lines = [line for line in text.getvalue().splitlines() if whole in line or ended in line]
    assert any("1/2 pixels" in line and whole in line for line in lines)
    assert any("2/2 words" in line and ended in line for line in lines)
    assert "2/2 run a\n" in text.getvalue()
