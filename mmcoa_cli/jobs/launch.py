"""Start work in one process or several. Only this module knows how several are started.

One process: the work runs here. Several: as many workers (`worker.py`) are started as asked, and each checks that it is
one of that many. `accelerate launch --num_processes N` silently starts a single process on a CPU, so the launcher is
our own; only a configuration file made by `accelerate config` goes to Accelerate's. Workers find each other, and tell
their outcome, through a store in the memory of this process: nothing is written that a kill could leave behind.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from store.errors import UserError

from ..processes import imports, require_fit
from ..settings import home
from ..terminal.checks import within
from ..terminal.console import say
from ..terminal.ending import GO_ON, naming
from ..terminal.signals import NUMBERS, stop
from .job import Job, Outcome, Start
from .known import Known
from .preflight import Resolved, resolve, warn
from .subject import Subject
from .worker import LAUNCHER, OUTCOME, patience, perform

DIED = "a worker process died; what was finished is kept"
HOST = "127.0.0.1"
LOOK = 0.05  # seconds between two looks at the workers
GRACE = 60.0  # seconds, if they wait for each other so long, in which workers may save the state of an epoch


def run(job: Job, start: Start | None = None, *, resolved: Resolved | None = None) -> Outcome:
    """Do the job, unless the store has it: then that is found, without loading a tensor. `resolved` is the job where
    its names have been looked up before.

    Raises UserError as the job does, and when a process dies.
    """
    start = resolved_start(start or Start())
    warn(job)
    resolved = resolved or resolve(job, home())
    known = Known(home())
    if found := known.outcome(job, resolved.subject):
        if found.run:
            say(f"run {found.run} is in the store already")
        return found
    with naming(known.run_id(job.train) if job.train and job.train.row.loss else ""):
        if start == Start():
            return perform(job, resolved.subject)
        return _in_processes(job, resolved.subject, start)


def _in_processes(job: Job, subject: Subject | None, start: Start) -> Outcome:
    """What the workers' first one tells."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    memory = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    words = _words(job, subject, start, port=str(memory.port))
    by_us = start.accelerate_config is None
    codes = _start(words, start.processes, memory.port) if by_us else _accelerate(words)
    if not memory.check([OUTCOME]):
        stop_as(codes)
        raise UserError(DIED, hint=f"{GO_ON}, or with --processes 1 to see the error in full")
    outcome = json.loads(memory.get(OUTCOME))
    if "error" in outcome:
        raise UserError(outcome["error"], hint=outcome["hint"])
    return Outcome(**outcome)


def stop_as(codes: Iterable[int]) -> None:
    """End as workers did that a signal to all processes of a job reached first, by their exit codes."""
    for number in NUMBERS:
        if {-number, 128 + number} & {*codes}:
            stop(number)


def resolved_start(start: Start) -> Start:
    """How work is started, with as many processes as the configuration says where no number was typed.

    Raises UserError for a file that is none, and for numbers that start nothing.
    """
    file, processes = start.accelerate_config, start.processes
    if file is not None and not file.is_file():
        raise UserError(f"there is no file {file}", hint="make one with: accelerate config")
    if file is not None and processes == Start().processes:
        processes = _processes_in(file)
    if processes < 1:
        raise UserError(f"--processes {processes} starts nothing", hint="--processes 1")
    within("--processes", processes)
    if file is None:
        require_fit("--processes", processes, otherwise="; --accelerate-config starts them on several")
    return replace(start, processes=processes)


def command_line(job: Job, subject: Subject | None, start: Start) -> str:
    """What is run where several processes are started, as a shell takes it; empty where the work is done in one."""
    start = resolved_start(start)
    if start == Start():
        return ""
    words = shlex.join(_words(job, subject, start, port="PORT"))
    if start.accelerate_config is not None:
        return words
    ranks = " ".join(f"{name}={value}" for name, value in _together(start.processes, "PORT").items())
    return f"{ranks} RANK=0 LOCAL_RANK=0 {words}"


def _words(job: Job, subject: Subject | None, start: Start, *, port: str) -> list[str]:
    """The command of a worker, or of Accelerate's launcher, which starts all of them."""
    document = {"processes": start.processes, "subject": asdict(subject) if subject else None, **asdict(job)}
    worker = ["-m", "mmcoa_cli.jobs.worker", json.dumps(document), port]
    if start.accelerate_config is None:
        return [sys.executable, *worker]
    options = ["--config_file", str(start.accelerate_config), "--num_processes", str(start.processes)]
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *worker]


def _processes_in(file: Path) -> int:
    """How many a configuration asks for; 1 where it says nothing. Raises UserError for a file that is no YAML."""
    import yaml  # type: ignore[import-untyped]

    try:
        document = yaml.safe_load(file.read_text(encoding="utf8"))
        return int((document or {}).get("num_processes") or 1)
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} is no configuration: {reason}", hint="make one with: accelerate config") from error


def _together(processes: int, port: str) -> dict[str, str]:
    """The variables by which workers find each other, beside the rank of each, as `torchrun --standalone` sets them."""
    return {
        **{"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": HOST},
        **{"MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"},
    }


def _start(words: list[str], processes: int, port: int) -> list[int]:
    """Start the workers with their ranks, as `torchrun --standalone` does; one that fails ends the others. Returns the
    exit codes."""
    together = {**_environment(), **_together(processes, str(port))}
    with ended() as started:
        for rank in map(str, range(processes)):
            started.append(psutil.Popen(words, env={**together, "RANK": rank, "LOCAL_RANK": rank}))
        return _codes(started)


def _accelerate(words: list[str]) -> list[int]:
    """Run `accelerate launch`. Its temporary files are removed with their folder. It hears no Ctrl-C: ended by one, it
    would explain itself at length."""
    with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder, ended(by_us=False) as started:
        started.append(psutil.Popen(words, env={**_environment(), "TMPDIR": folder}, start_new_session=True))
        return _codes(started)


def _codes(started: list[Any]) -> list[int]:
    """Wait until all have ended, or one has failed."""
    while True:
        codes = [process.poll() for process in started]
        if None not in codes or any(codes):
            return [code for code in codes if code is not None]
        time.sleep(LOOK)


@contextmanager
def ended(*, by_us: bool = True) -> Iterator[list[Any]]:
    """End the processes (of psutil) that the block starts, and those that they start, when the block ends; at once one
    that is not ours, and only starts others. Raises UserError as `patience` does."""
    started: list[Any] = []
    grace = min(GRACE, patience())
    try:
        yield started
    finally:
        every = [*started]
        for process in started:
            with suppress(psutil.NoSuchProcess):
                children = process.children(recursive=True)
                every += children
                if children and not by_us:  # Accelerate's launcher
                    process.kill()
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        _, late = psutil.wait_procs(every, timeout=grace)
        for process in late:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(late)


def _environment() -> dict[str, str]:
    """The variables of workers. They compute with as many threads as a single process, because another number rounds
    sums differently; they watch whether this process is alive."""
    import torch

    launcher = f"{os.getpid()}:{psutil.Process().create_time()}"
    return {
        **os.environ,
        **imports(),
        **{"OMP_NUM_THREADS": str(torch.get_num_threads())},
        **{LAUNCHER: launcher, "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")},
    }
