"""The jobs of a plan that were handed in, and how far each is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from rich import box
from rich.console import RenderableType
from rich.table import Table

from store.errors import UserError
from store.files import replacing

from ..plans.steps import Step
from ..settings import Home
from .grouping import command_of

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"}


@dataclass(frozen=True)
class Record:
    """A job that was handed in."""

    job: str
    title: str
    on: str
    commands: tuple[str, ...]
    submitted_at: str

    def log(self, home: Home) -> Path:
        """What the job writes: the lines of its progress, and what went wrong."""
        return home.runs / "cluster" / self.job / f"{self.job}_0_log.err"


def read(file: Path) -> list[Record]:
    """The jobs that `file` records; none where it is not there, or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf8"))
        return [Record(**{**one, "commands": tuple(one["commands"])}) for one in found]
    except (OSError, ValueError, TypeError, LookupError):
        return []


def write(records: Sequence[Record], file: Path) -> None:
    """Keep them for the next command."""
    with replacing(file) as partial:
        partial.write_text(json.dumps([asdict(record) for record in records], indent=1), encoding="utf8")


def active(records: Sequence[Record]) -> list[Record]:
    """Those that wait, or run."""
    states = states_of(records)
    return [record for record in records if record.job in states]


def latest(records: Sequence[Record]) -> list[Record]:
    """Those of which something was not handed in once more since."""
    last = {command: record.job for record in records for command in record.commands}
    return [record for record in records if record.job in last.values()]


def states_of(records: Sequence[Record]) -> dict[str, str]:
    """What the cluster says of each job that has not ended: "PENDING (Dependency)", "RUNNING on node1"."""
    found = {record.job: "RUNNING" for record in records if record.on == "local" and _runs_here(record.job)}
    jobs = [record.job for record in records if record.on == "slurm"]
    if not jobs or shutil.which("squeue") is None:
        return found
    command = ["squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}", "--format=%i|%T|%R"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        job, state, where = line.split("|", 2)
        if state not in ENDED:
            found[job] = f"{state} {where if where.startswith('(') else f'on {where}'}"
    return found


def _runs_here(job: str) -> bool:
    """Whether a job of `--on local`, whose number is its process's, runs."""
    try:
        process = psutil.Process(int(job))
        return "submitit" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def last_words(log: Path) -> str:
    """The last error in a job's log; empty where there is none."""
    try:
        text = log.read_text(encoding="utf8", errors="replace")
    except OSError:
        return ""
    errors = re.findall(r"^(?:error: |store\.errors\.UserError: )(.*)$", text, flags=re.MULTILINE)
    return errors[-1] if errors else ""


def status(steps: Sequence[Step], home: Home, *, file: Path) -> list[dict[str, Any]]:
    """Each job of a plan with its state: what the cluster says of one that has not ended; else "done", where all that
    it was to make is there, or "ended", with the last error of its log.

    Raises UserError where no job was handed in.
    """
    every = latest(read(file))
    if not every:
        raise UserError("no job of this plan was handed in", hint="add --on slurm, and the same options as then")
    states, left = states_of(every), {command_of(step) for step in steps if not step.cached}
    return [_one(record, states, left, home) for record in every]


def _one(record: Record, states: dict[str, str], left: set[str], home: Home) -> dict[str, Any]:
    log = record.log(home)
    state = states.get(record.job) or ("ended" if left & set(record.commands) else "done")
    words = last_words(log) if state == "ended" else ""
    return {**asdict(record), "state": state.lower(), "error": words, "log": str(log)}


def table(found: Sequence[dict[str, Any]]) -> RenderableType:
    """The jobs for a person."""
    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("job", "what", "state"):
        lines.add_column(name, overflow="fold")
    for one in found:
        style = {"done": "dim", "ended": "red"}.get(one["state"], "")
        lines.add_row(one["job"], one["title"], one["state"], style=style)
        if one["state"] == "ended":
            lines.add_row("", f"{one['error'] or 'no error in its log'} ({one['log']})", "", style=style)
    return lines
