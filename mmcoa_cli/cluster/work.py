"""What a job of the cluster does, and what becomes of it when the cluster wants its machine back.

submitit runs it in the job's own process. A signal (SIGUSR2 before the time is over, SIGTERM of a preemption) ends the
work as Ctrl-C does, with the state of the running epoch saved; then the job queues again, and goes on there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..jobs.job import Start
from ..plans.steps import Step
from ..processes import VISIBLE

GRACE = 90.0  # seconds in which the state of an epoch may be written, after SIGUSR2 (`submission.WARNED`)
CANCELLED = {"CANCELLED", "COMPLETING"}  # what Slurm calls a job whose end a person asked for


@dataclass(frozen=True)
class Work:
    """Steps of a plan, done in the store at `home`, on another machine perhaps, `jobs` at once. Called there by
    submitit, which hides all GPUs in the background of this machine: it is to see these."""

    steps: tuple[Step, ...]
    home: str
    start: Start
    jobs: int = 1
    gpus: tuple[str, ...] = ()

    def __call__(self) -> list[str]:
        """The runs that were trained. Raises UserError, after all steps, where any failed."""
        os.environ["MMCOA_HOME"] = self.home
        if self.gpus:
            os.environ[VISIBLE] = ",".join(self.gpus)
        from .. import plugins
        from ..terminal.signals import Stopped, raised

        queue_again = self._handlers()
        try:
            with raised(grace=GRACE):
                plugins.load()
                runs = self._done()
        except Stopped as stop:
            if _cancelled():
                raise
            queue_again(getattr(signal, "SIGUSR2", stop.number), None)  # ends the process
            raise
        for number in (signal.SIGTERM, signal.SIGUSR2):  # all is done: no preemption may make a failure of it, for
            signal.signal(number, signal.SIG_IGN)  # which Slurm would cancel the jobs that wait for it
        return runs

    def checkpoint(self, *_: Any) -> Any:
        """What submitit queues again: the same, which finds what is done already."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _done(self) -> list[str]:
        from ..plans.execution import Execution, verdict
        from ..settings import home

        execution = Execution(home(), self.start, at_once=self.jobs)
        if error := verdict(execution.what_can_be(self.steps), self.steps):
            raise error
        return [outcome.run for outcome in execution.outcomes if outcome.run]

    def _handlers(self) -> Callable[[int, Any], object]:
        """Hear SIGTERM, and SIGUSR2 as that. Returns how submitit would have queued the job again."""
        before = signal.getsignal(signal.SIGUSR2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        return before if callable(before) else lambda *_: None


def _cancelled() -> bool:
    """Whether Slurm ends this job because a person asked for it."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or shutil.which("scontrol") is None:
        return True  # nobody would queue it again
    told = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, check=False).stdout
    return any(f"JobState={state}" in told for state in CANCELLED)
