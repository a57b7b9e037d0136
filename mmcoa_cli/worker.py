"""What one process of a launch does: a training run, an evaluation, or the first and then the second of its result."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from store.errors import UserError
from store.files import lock, replacing

from .errors import explained
from .settings import home
from .specs import EvaluationSpec, TrainSpec


@dataclass(frozen=True)
class Job:
    """Train, then evaluate; either may be left out. After a training run the evaluation's checkpoint is that run.

    `resume` is the run that the training goes on with."""

    train: TrainSpec | None = None
    evaluate: EvaluationSpec | None = None
    resume: str = ""


@dataclass(frozen=True)
class Outcome:
    """The run (empty where nothing was trained) and the ids of the evaluations in the index."""

    run: str = ""
    evaluations: list[str] = field(default_factory=list)


def perform(job: Job, *, processes: int = 1) -> Outcome:
    """Do the job as one of `processes` processes. Raises UserError when this is not one of that many."""
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    import torch
    from accelerate import Accelerator

    from .evaluation import evaluate
    from .training import train

    compute_repeatably(torch)
    # without `cpu`, Accelerate makes a single process of each of several on a machine that has no accelerator
    accelerator = Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    try:
        if accelerator.num_processes != processes:
            raise UserError(
                f"{processes} processes were asked for and {accelerator.num_processes} started",
                hint=f"start them with: torchrun --nproc_per_node {processes}, or use --processes 1",
            )
        run, evaluations = "", []
        if job.train:
            run = train(job.train, home(), accelerator, resumed=job.resume).id
        if job.evaluate:
            spec = replace(job.evaluate, checkpoint=run or job.evaluate.checkpoint)
            evaluations = [row.id for row in evaluate(spec, home(), accelerator)]
        return Outcome(run, evaluations)
    finally:
        if processes > 1:
            accelerator.end_training()  # ends the process group: a worker that exits without may abort


def compute_repeatably(torch: Any) -> None:
    """On a GPU take the kernels that give the same bits every time, and full float32 where fp32 is asked for."""
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False


def main() -> None:
    """`python -m mmcoa_cli.worker JOB OUTCOME`: read the one file, write the other.

    The first process writes the outcome; a process that fails writes why, and its exit code ends the others.
    """
    job_file, outcome_file = (Path(argument) for argument in sys.argv[1:3])
    document = json.loads(job_file.read_text(encoding="utf8"))
    try:
        outcome = asdict(perform(_job(document), processes=document["processes"]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _lost_another(error):
            reason = explained(error)
            _write(outcome_file, {"error": str(reason), "hint": reason.hint})
        sys.exit(1)
    if os.environ.get("RANK", "0") == "0":
        _write(outcome_file, outcome)


def _lost_another(error: Exception) -> bool:
    """Whether another process died first: it has said why, or could not."""
    return isinstance(error, RuntimeError) and "onnection" in str(error)


def _write(path: Path, document: dict[str, Any]) -> None:
    """The first to write is the one that failed; others that fail at the same moment wait, and find it written."""
    with lock(path, what="the outcome"):
        if not path.exists():
            with replacing(path) as partial:
                partial.write_text(json.dumps(document), encoding="utf8")


def _job(document: dict[str, Any]) -> Job:
    train, evaluate = document["train"], document["evaluate"]
    for key in ("datasets", "attacks"):
        if evaluate:
            evaluate[key] = tuple(evaluate[key])
    spec, test = TrainSpec(**train) if train else None, EvaluationSpec(**evaluate) if evaluate else None
    return Job(spec, test, document["resume"])


if __name__ == "__main__":
    main()
