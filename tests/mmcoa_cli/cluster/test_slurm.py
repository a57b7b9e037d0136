"""`mmcoa reproduce --on slurm`, against a real Slurm, and `--on local`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from ready import Server, Started, variables
from typer.testing import CliRunner

from mmcoa_cli import processes
from mmcoa_cli.app import app
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.files import lock

from .conftest import until

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'mmcoa[slurm]'")

PLAN = ("table8", "--preset", "quick", "--hours", "1e-6", "--source", "digits", "--model", "vit", "--mlm", "mlm")
ON_SLURM = ("--on", "slurm", "--gpus", "0", "--partition", "low")
LATER = ("--slurm", "begin=now+1hour")  # a job of these begins when it is told to


def document(*words: str) -> dict[str, Any]:
    ended = CliRunner().invoke(app, ["reproduce", *PLAN, "--json", *words])
    assert ended.exit_code == 0, (ended.exception, ended.stderr)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def states() -> set[str]:
    return {job["state"] for job in document("--status")["jobs"]}


@contextmanager
def held_up(home: Home, jobs: list[dict[str, Any]]) -> Iterator[None]:
    """The first of the jobs, which trains, waits for this process from when it is to write its run."""
    (run,) = re.findall(r"--checkpoint (\S+)", jobs[-1]["commands"][0])
    with lock(home.runs / run, what="a run"):
        for job in jobs:
            told("scontrol", "update", f"JobId={job['job']}", "StartTime=now")
        until(lambda: "waiting for another process that writes run" in logs(home))
        yield


def logs(home: Home) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(home.runs.glob("cluster/*/*_log.err")))


@pytest.mark.slow(seconds=90)
def test_a_plan_is_done_as_jobs_once_each_though_one_is_preempted(home: Home, slurm: None) -> None:
    """A job of another partition takes the machine from the plan's first, which queues again and goes on; the second
    comes after it."""
    handed_in = document(*ON_SLURM, *LATER)["jobs"]
    assert [job["title"].split()[0] for job in handed_in] == ["train", "test"]
    again = document(*ON_SLURM)["jobs"]
    assert [job["job"] for job in again] == [job["job"] for job in handed_in]  # none twice while they wait or run
    first, second = (job["job"] for job in handed_in)
    with held_up(home, handed_in):
        assert "Dependency" in told("squeue", "-h", "-j", second, "-o", "%R")
        told("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true")
        until(lambda: "Restarts=1" in told("scontrol", "show", "job", first))
    until(nothing_waits)
    until(lambda: not states() - {"done", "ended"})
    assert states() == {"done"}, logs(home)
    assert all(step["cached"] for step in document("--dry-run")["steps"])


def test_a_job_that_has_done_its_work_ends_well_whatever_it_is_sent(
    server: Callable[[], Server], tmp_path: Path
) -> None:
    """Preempted as it leaves, it would count as failed, and Slurm would cancel what waits for it."""
    script = tmp_path / "job.py"
    script.write_text(
        "import os, signal\n"
        "from mmcoa_cli.cluster.work import Work\n"
        "from mmcoa_cli.jobs.job import Start\n"
        f"Work((), {str(tmp_path)!r}, Start())()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
    )
    job = Started(server(), [], variables(MMCOA_HOME=str(tmp_path)), tmp_path, script=str(script))
    _, err = job.communicate()
    assert job.returncode == 0, err


def test_a_job_that_a_person_cancels_stays_cancelled(home: Home, slurm: None) -> None:
    jobs = document(*ON_SLURM, *LATER)["jobs"]
    with held_up(home, jobs):
        told("scancel", *(job["job"] for job in jobs))
        until(nothing_waits)
    assert "Restarts=0" in told("scontrol", "show", "job", jobs[0]["job"])
    assert "ended" in states()


def test_what_slurm_refuses_is_said(home: Home, slurm: None) -> None:
    ended = CliRunner().invoke(app, ["reproduce", *PLAN, *ON_SLURM[:4], "--partition", "nowhere"])
    assert isinstance(ended.exception, UserError)
    assert "Invalid partition name specified" in str(ended.exception)


def test_without_slurm_it_is_said(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = CliRunner().invoke(app, ["reproduce", *PLAN, *ON_SLURM])
    assert isinstance(ended.exception, UserError)
    assert "there is no Slurm here" in str(ended.exception)


def test_the_jobs_of_a_plan_of_which_none_was_handed_in(home: Home) -> None:
    ended = CliRunner().invoke(app, ["reproduce", *PLAN, "--status"])
    assert isinstance(ended.exception, UserError)
    assert "no job of this plan" in str(ended.exception)


def test_on_slurm_as_many_jobs_run_at_once_as_it_has_room_for(home: Home) -> None:
    ended = CliRunner().invoke(app, ["reproduce", *PLAN, *ON_SLURM, "--jobs", "2"])
    assert isinstance(ended.exception, UserError)
    assert "--jobs 2 is of one machine" in str(ended.exception)


SEEN = """
import os
from pathlib import Path

with Path(os.environ["SEEN"]).open("a") as seen:
    print(os.environ["CUDA_VISIBLE_DEVICES"], file=seen)
"""


@pytest.mark.slow(seconds=60)
def test_in_the_background_of_this_machine(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There submitit hides all GPUs: the job sees those that are seen here, and with --jobs each of its processes one.
    That there are two is pretended."""
    (tmp_path / "looks.py").write_text(SEEN)
    monkeypatch.setattr(processes, "DRIVERS", (tmp_path,))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setenv("MMCOA_PLUGINS", "looks")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([variables()["PYTHONPATH"], str(tmp_path)]))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    (job,) = document("--on", "local", "--jobs", "2")["jobs"]
    assert "and 1 more" in job["title"]
    assert states() <= {"running", "done"}
    until(lambda: any(home.runs.glob("cluster/*/*_result.pkl")))  # what a job tells at its end
    until(lambda: not states() - {"done", "ended"})
    assert states() == {"done"}, logs(home)
    assert (tmp_path / "seen").read_text().split()[0] == "GPU-a,GPU-b"


def nothing_waits() -> bool:
    """Whether Slurm has no job any more; looking costs nothing, where `--status` makes the whole plan."""
    return not told("squeue", "-h", "-t", "pending,running,completing").strip()


def told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
