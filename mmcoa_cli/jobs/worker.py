"""What one process of a launch does: a training run, an evaluation, or the first and then the second of its result."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import plugins
from ..loading import end_without_search, uncollected
from ..settings import home
from ..terminal.console import loading
from ..terminal.durations import duration
from ..terminal.errors import explained
from ..terminal.signals import Stopped, raised
from .evaluation_spec import from_document
from .job import Conduct, Job, Outcome
from .training_spec import TrainSpec

if TYPE_CHECKING:
    from .subject import Subject

TIMEOUT = re.compile(r"timed out|time-?out", re.IGNORECASE)  # in the words of gloo, NCCL and the store
OUTCOME = "mmcoa/outcome"  # where the launcher's store has the result
LAUNCHER = "MMCOA_LAUNCHER"  # the variable that says which process that is
LOOK = 0.25  # seconds between two looks whether it is alive
PATIENCE, WAIT = "MMCOA_WAIT", 1800.0  # the variable of, and the usual, seconds that processes wait for each other


def perform(job: Job, subject: Subject | None = None, *, processes: int = 1) -> Outcome:
    """Do the job as one of `processes` processes; `subject` is what is tested where nothing is trained.

    Raises UserError when this is not one of that many.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    with loading("torch") if processes == 1 else nullcontext(), uncollected():
        import torch
        from accelerate import Accelerator, InitProcessGroupKwargs

        from ..models.load import load_mlm
        from ..terminal.logged import say_what_is_logged
        from . import fsdp
        from .clock import forget_peak, peak_memory
        from .evaluation import evaluate
        from .subject import subject_of
        from .training import train

    say_what_is_logged()
    choose_kernels(torch, fast=any(spec.fast for spec in (job.train, *job.tests) if spec))
    conduct = replace(job.conduct, divided=fsdp.taken_over())
    # without `cpu`, Accelerate makes a single process of each of several on a machine that has no accelerator
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    waiting = InitProcessGroupKwargs(timeout=timedelta(seconds=patience()))
    accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[waiting])
    forget_peak(accelerator.device)
    try:
        if accelerator.num_processes != processes:
            raise UserError(
                f"{processes} processes were asked for and {accelerator.num_processes} started",
                hint=f"start them with: torchrun --nproc_per_node {processes}, or use --processes 1",
            )
        run, tests = None, job.tests
        if job.train:
            for name in {test.mlm for test in tests if test.takes_words}:
                load_mlm(name, home())  # what keeps it from being loaded is told before the first step
            run = train(
                job.train, home(), accelerator, resumed=job.resume, keep=job.keep, conduct=conduct, watched=job.evaluate
            )
            tests = tuple(replace(test, checkpoint=run.id) for test in tests)
            subject = subject_of(run, tests[0], home()) if tests else None
        most = job.conduct.micro_batch
        evaluations = evaluate(tests, subject, home(), accelerator, micro_batch=most) if subject else []
        return Outcome(run.id if run else "", evaluations, peak_memory(accelerator.device) or 0)
    finally:
        if processes > 1:
            accelerator.end_training()  # ends the process group: a worker that exits without may abort


def choose_kernels(torch: Any, *, fast: bool = False) -> None:
    """On a GPU take the kernels that give the same bits every time, or the `fast` ones; either way full float32, which
    a victim gives up where its precision says so. What has no such kernel raises a RuntimeError: if that were only a
    warning, attention would take others, too."""
    if not torch.cuda.is_available():
        return
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if fast:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False


def main() -> None:
    """`python -m mmcoa_cli.jobs.worker JOB PORT`: do the one, tell the outcome to the launcher's store at the other.

    The first process tells the outcome; a process that fails tells why, and its exit code ends the others. A signal
    ends each without a word, and so does the end of the launcher.
    """
    end_without_search()
    threading.Thread(target=_end_with, args=(os.environ[LAUNCHER],), daemon=True).start()
    try:
        with raised():
            plugins.load()
            sys.exit(_work(json.loads(sys.argv[1]), port=int(sys.argv[2])))
    except Stopped as stop:
        sys.exit(stop.exit_code)


def _work(document: dict[str, Any], *, port: int) -> int:
    """Do the job. Returns the exit code."""
    try:
        outcome = asdict(perform(*_job(document), processes=document["processes"]))
    except Exception as error:
        if not _lost_another(error):
            reason = _unanswered(error) or explained(error)
            _tell({"error": str(reason), "hint": reason.hint}, port)
        return 1
    if os.environ.get("RANK", "0") == "0":
        _tell(outcome, port)
    return 0


def _end_with(launcher: str) -> None:
    """End this process when the launcher ("PID:START") has ended, killed perhaps: nobody waits for the result."""
    import psutil  # type: ignore[import-untyped]

    pid, _, start = launcher.partition(":")
    try:
        process = psutil.Process(int(pid))
        while process.create_time() == float(start) and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOK)
    except psutil.Error:
        pass
    os._exit(1)


def _lost_another(error: Exception) -> bool:
    """Tell whether another process died first: it has said why, or could not."""
    return isinstance(error, RuntimeError) and "onnection" in str(error)


def _unanswered(error: Exception) -> UserError | None:
    """Where another process hangs: what a person reads of it."""
    if not (isinstance(error, RuntimeError) and TIMEOUT.search(str(error))):
        return None
    return UserError(
        f"a worker process did not answer for {duration(patience())}; what was finished is kept",
        hint=f"type the same command again to go on; {PATIENCE}=SECONDS waits longer",
    )


def patience() -> float:
    """Seconds that processes wait for each other. Raises UserError for what is no number of them."""
    given = os.environ.get(PATIENCE, "")
    try:
        seconds = float(given or WAIT)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise UserError(f"{PATIENCE}={given} is no number of seconds", hint=f"{PATIENCE}={WAIT:.0f}")
    return seconds


def _tell(document: dict[str, Any], port: int) -> None:
    """Tell the launcher. The first process to do so is the one that failed; others that fail then change nothing."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    TCPStore("127.0.0.1", port).compare_set(OUTCOME, "", json.dumps(document))


def _job(document: dict[str, Any]) -> tuple[Job, Subject | None]:
    from . import subject

    train, test, tested = document["train"], document["evaluate"], document["subject"]
    job = Job(
        TrainSpec(**train) if train else None,
        from_document(test) if test else None,
        document["resume"],
        document["keep"],
        Conduct(**document["conduct"]),
        tuple(map(from_document, document["more"])),
    )
    return job, subject.from_document(tested) if tested else None


if __name__ == "__main__":
    main()
