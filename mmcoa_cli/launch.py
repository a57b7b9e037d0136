"""Starts work in one process or several. The only module that knows how several are started.

One process: the work runs here. Several: as many workers (`worker.py`) are started as asked, and each checks that it is
one of that many. `accelerate launch --num_processes N` silently starts a single process on a CPU, so the launcher is
torch's own; only a configuration file made by `accelerate config` goes to Accelerate's.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

from store.errors import UserError

from .preflight import require
from .settings import home
from .worker import Job, Outcome, perform


def run(job: Job, *, processes: int = 1, accelerate_config: Path | None = None) -> Outcome:
    """Do the job in `processes` processes. Raises UserError as the job does, and when a process dies."""
    if processes < 1:
        raise UserError(f"--processes {processes} starts nothing", hint="--processes 1")
    require(job, home())
    if processes == 1 and accelerate_config is None:
        return perform(job)
    with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder:
        job_file, outcome_file = Path(folder, "job.json"), Path(folder, "outcome.json")
        job_file.write_text(json.dumps({"processes": processes, **asdict(job)}), encoding="utf8")
        worker = ["-m", "mmcoa_cli.worker", str(job_file), str(outcome_file)]
        os.environ.update(_environment())
        if accelerate_config is None:
            _torch_launch(worker, processes)
        else:
            _accelerate_launch(worker, processes, accelerate_config)
        if not outcome_file.exists():
            raise UserError(
                "a worker process died; what was finished is kept",
                hint="type the same command again to go on, or with --processes 1 to see the error in full",
            )
        outcome = json.loads(outcome_file.read_text(encoding="utf8"))
    if "error" in outcome:
        raise UserError(outcome["error"], hint=outcome["hint"])
    return Outcome(**outcome)


def _torch_launch(worker: list[str], processes: int) -> None:
    """What `torchrun --standalone` does, without its report of failures: the workers write their own."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)(*worker)
    except ChildFailedError:
        pass  # the outcome file says why, or is missing
    except SignalException:
        raise KeyboardInterrupt from None


def _accelerate_launch(worker: list[str], processes: int, config: Path) -> None:
    if not config.is_file():
        raise UserError(f"there is no file {config}", hint="make one with: accelerate config")
    options = ["--config_file", str(config), "--num_processes", str(processes)]
    subprocess.run([sys.executable, "-m", "accelerate.commands.launch", *options, *worker], check=False)


def _environment() -> dict[str, str]:
    """Workers import this very package, not a `store` that lies in the current folder; and each computes with as many
    threads as a single process would, because sums are rounded differently by another number of threads."""
    import torch

    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return {**threads, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
