"""Starts work in one process or several. The only module that knows how several are started.

One process: the work runs here. Several: a launcher starts `mmcoa_cli.worker` that often and the worker checks that it
really is one of that many. On a CPU `accelerate launch --num_processes N` silently starts a single process, so there
the launcher is torch's own; on GPUs, or with a configuration file of Accelerate, it is Accelerate's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from store.errors import UserError

from .worker import Job, Outcome, perform


def run(job: Job, *, processes: int = 1, accelerate_config: Path | None = None) -> Outcome:
    """Do the job in `processes` processes. Raises UserError as the job does, and when a process dies."""
    if processes < 1:
        raise UserError(f"--processes {processes} starts nothing", hint="--processes 1")
    if processes == 1 and accelerate_config is None:
        return perform(job)
    with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder:
        job_file, outcome_file = Path(folder, "job.json"), Path(folder, "outcome.json")
        job_file.write_text(json.dumps({"processes": processes, **_as_document(job)}), encoding="utf8")
        arguments = ["-m", "mmcoa_cli.worker", str(job_file), str(outcome_file)]
        code = _wait(subprocess.Popen([*_launcher(processes, accelerate_config), *arguments], env=_environment()))
        if not outcome_file.exists():
            raise UserError(
                f"the worker processes ended with exit code {code}; what was finished is kept",
                hint="type the same command again to go on, or use --processes 1 to see the error in full",
            )
        outcome = json.loads(outcome_file.read_text(encoding="utf8"))
    if "error" in outcome:
        raise UserError(outcome["error"], hint=outcome["hint"])
    return Outcome(**outcome)


def _launcher(processes: int, accelerate_config: Path | None) -> list[str]:
    if accelerate_config is not None:
        if not accelerate_config.is_file():
            raise UserError(f"there is no file {accelerate_config}", hint="make one with: accelerate config")
        options = ["--config_file", str(accelerate_config), "--num_processes", str(processes)]
        return [sys.executable, "-m", "accelerate.commands.launch", *options]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]


def _environment() -> dict[str, str]:
    """Workers import this very package, not a `store` that lies in the current folder; and each computes with as many
    threads as a single process would, because sums are rounded differently by another number of threads."""
    import torch

    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "PASSIVE"}
    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {**os.environ, **threads, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait; on Ctrl-C let the workers end first, so that they leave no half-written line on the terminal."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise


def _as_document(job: Job) -> dict[str, Any]:
    return {
        "train": asdict(job.train) if job.train else None,
        "evaluate": asdict(job.evaluate) if job.evaluate else None,
    }
