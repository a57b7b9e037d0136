"""Handing a plan to a cluster through submitit: `--on slurm`, or `local` in the background of this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.files import disk_of, lock

from ..jobs.job import Start
from ..models.runs import now
from ..plans.steps import Step
from ..processes import devices, imports
from ..settings import Home
from ..terminal.console import say
from . import records
from .grouping import Errand, command_of, errands
from .records import Record
from .work import Work

AGAIN = 1000  # times that a job may queue again
WARNED = 120  # seconds that Slurm gives a job before its time is over
REFUSED = (RuntimeError, ValueError, OSError)  # what submitit raises where sbatch refuses, or an option is none
INSTALL = "pip install 'mmcoa[slurm]'"


@dataclass(frozen=True)
class Allocation:
    """What each job asks of the cluster. Raises UserError for what cannot be."""

    on: str
    partition: str | None = None
    gpus: int = 1
    hours: float = 24.0
    others: Mapping[str, str] = field(default_factory=dict)  # options of sbatch, by their names there

    def __post_init__(self) -> None:
        if self.gpus < 0 or self.hours <= 0:
            raise UserError("a job takes no fewer than 0 GPUs, and more than 0 hours", hint="--gpus 1 --time-limit 24")

    def parameters(self, errand: Errand, after: Sequence[str]) -> dict[str, Any]:
        """As submitit takes them."""
        if self.on == "local":
            return {"timeout_min": round(self.hours * 60)}
        waits = {"dependency": f"afterok:{':'.join(after)}", "kill_on_invalid_dep": "yes"} if after else {}
        return {
            "job_name": f"mmcoa {errand.title}",
            "time": max(1, round(self.hours * 60)),
            "signal_delay_s": WARNED,
            "setup": [f"export {shlex.join(f'{name}={value}' for name, value in imports().items())}"],
            **({"partition": self.partition} if self.partition else {}),
            **({"gpus_per_node": self.gpus} if self.gpus else {}),
            "additional_parameters": {"requeue": True, "open_mode": "append", **waits, **self.others},
        }


def submit(
    steps: Sequence[Step],
    allocation: Allocation,
    start: Start,
    home: Home,
    *,
    jobs: int = 1,
    file: Path,
    seen: Sequence[Record] = (),
) -> list[Record]:
    """Hand in what is left of a plan and is in no job yet; all jobs of the plan, as `file` records them. `seen` are the
    jobs that waited or ran when it was looked at what is left. On this machine `jobs` steps are done at once.

    Raises UserError where there is no such cluster, or where it refuses a job.
    """
    _require_locks(home)
    with lock(file, what="the jobs of this plan"):
        every = records.read(file)
        waiting = {command for record in (*seen, *records.active(every)) for command in record.commands}
        left = [step for step in steps if command_of(step) not in waiting]
        ids: list[str] = []
        for errand in _fitting(errands(left), allocation.on):
            work = Work(errand.steps, str(home.root), start, jobs, tuple(devices() if allocation.on == "local" else ()))
            ids.append(_submitted(errand, work, [ids[number] for number in errand.after], allocation, home))
            record = Record(ids[-1], errand.title, allocation.on, tuple(errand.commands), now())
            every = [*every, record]
            records.write(every, file)
            say(f"job {record.job}: {record.title}")
    return every


def _fitting(found: list[Errand], on: str) -> list[Errand]:
    """On this machine alone all is one job, which does its steps at once where that is asked for."""
    every = tuple(step for errand in found for step in errand.steps)
    return found if on == "slurm" or not every else [Errand(every)]


def _submitted(errand: Errand, work: Work, after: Sequence[str], allocation: Allocation, home: Home) -> str:
    """The number that the cluster gave the job."""
    executor = executor_of(allocation.on, home)
    try:
        executor.update_parameters(**allocation.parameters(errand, after))
        job = executor.submit(work)
    except REFUSED as error:
        raise UserError(f"{allocation.on} takes no job: {_last_line(error)}", hint="see sbatch --help") from error
    return str(job.job_id)


def executor_of(on: str, home: Home) -> Any:
    """What hands jobs in. Raises UserError where it is not here."""
    try:
        import submitit
    except ImportError as error:
        raise UserError("--on needs submitit, which is not installed", hint=INSTALL) from error
    folder = home.runs / "cluster" / "%j"
    if on == "slurm":
        try:
            return submitit.SlurmExecutor(folder, max_num_timeout=AGAIN)
        except RuntimeError as error:
            raise UserError(
                "there is no Slurm here (srun is not found)", hint="type it on the cluster's login node; or --on local"
            ) from error
    os.environ.update(imports())
    return submitit.LocalExecutor(folder, max_num_timeout=AGAIN)


def _require_locks(home: Home) -> None:
    """Raises UserError where two machines could write the same files at once."""
    disk = disk_of(home.root)
    if disk.fault:
        raise UserError(
            f"locks on {disk.mounted} ({disk.kind}, {disk.fault}) do not hold between machines: jobs could spoil"
            " each other's files",
            hint="set MMCOA_HOME to another shared disk, or have this one mounted with its locks",
        )
    if disk.shared and home.index_file:
        say(f"the index is a file on {disk.mounted} ({disk.kind}): with many jobs set MMCOA_DATABASE_URL to PostgreSQL")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def sbatch_options(given: Sequence[str]) -> dict[str, str]:
    """The options of sbatch in texts ("account=vision"). Raises UserError for what is not of this form."""
    found = {}
    for option in given:
        name, assigns, value = option.partition("=")
        if not (name and assigns):
            raise UserError(f"--slurm {option} is no NAME=VALUE", hint="for example --slurm account=NAME")
        found[name.removeprefix("--")] = value
    return found
