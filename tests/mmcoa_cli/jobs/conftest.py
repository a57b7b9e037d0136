"""What the tests of jobs share: the options of one small run, and an evaluation from a specification alone."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator

from mmcoa_cli.jobs.evaluation import evaluate
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.settings import Home

SMALL_ATTACK: dict[str, Any] = {"eps": "8/255", "alpha": "4/255", "steps": 2}
SMALL_RUN: dict[str, Any] = {
    "dataset": "digits", "shots": "2", "model": "vit", "mlm": "mlm", "epochs": 1, "batch_size": 8, **SMALL_ATTACK,
}  # fmt: skip


def evaluated(spec: EvaluationSpec, home: Home, accelerator: Accelerator) -> list[str]:
    """Test what `spec` names; the ids of the results."""
    return evaluate([spec], find_subject(spec, home), home, accelerator)
