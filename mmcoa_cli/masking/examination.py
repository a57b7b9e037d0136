"""An examination: the checks one after another on a run or a model, and what they say together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Group, RenderableType
from rich.text import Text

from store.errors import UserError
from store.index import Index
from store.printable import visible

from .. import tasks
from ..datasets.library import open_dataset
from ..health import OK, SKIP, WARN, table
from ..health import Check as Row
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.job import Job
from ..jobs.preflight import resolve
from ..jobs.worker import choose_kernels
from ..models.runs import run_of
from ..settings import Home
from ..terminal.console import say
from .checks import BATCH, CHECKS, Check, Finding
from .evidence import ATTACK, MANY, Evidence


@dataclass(frozen=True)
class Examination:
    """What was examined, by which attack, and what each check found."""

    run: str
    dataset: str
    attack: str
    metric: str
    robust: float
    n: int
    rows: tuple[Row, ...]
    findings: Mapping[str, Finding]

    @property
    def suspected(self) -> list[str]:
        """The checks that speak against the number."""
        return [row.name for row in self.rows if row.status == WARN]

    @property
    def verdict(self) -> str:
        """In one sentence: whether the robust number looks false."""
        number = f"{self.metric.replace('_', ' ')} {100 * self.robust:.1f}% of {self.n} images ({self.attack})"
        if self.suspected:
            return f"suspicious: {number} may be false; see {', '.join(self.suspected)}"
        return f"nothing speaks against it: {number}"

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        rows = [
            {"name": row.name, "status": row.status, "found": row.found, "advice": row.advice}
            | {"numbers": self.findings[row.name].numbers if row.name in self.findings else {}}
            for row in self.rows
        ]
        told = {name: getattr(self, name) for name in ("run", "dataset", "attack", "metric", "robust", "n")}
        return {**told, "suspicious": bool(self.suspected), "verdict": self.verdict, "checks": rows}

    def shown(self) -> RenderableType:
        """The same for a person."""
        style = "bold yellow" if self.suspected else "green"
        return Group(table(list(self.rows)), Text(), Text(visible(self.verdict), style=style))


def examine(checkpoint: str, home: Home, *, dataset: str | None, limit: int, **options: Any) -> Examination:
    """Run every check on the model. Raises UserError for names that are not there."""
    spec = _spec(checkpoint, home, dataset=dataset, limit=limit, **options)
    subject = resolve(Job(evaluate=spec), home).subject
    if subject is None:
        raise UserError(f"{checkpoint} is nothing that is tested")
    choose_kernels(torch)
    accelerator = Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    evidence = Evidence(spec, subject, home, accelerator)
    _announce(evidence)
    findings, rows = dict[str, Finding](), []
    for check in CHECKS:
        row, finding = _looked(check, evidence)
        rows.append(row)
        findings |= {check.name: finding} if finding else {}
    robust = evidence.pgd.accuracy
    return Examination(
        run=subject.run.id, dataset=spec.datasets[0], attack=f"PGD, {evidence.settings.in_words()}",
        metric=robust.name, robust=robust.value, n=robust.n, rows=tuple(rows), findings=findings,
    )  # fmt: skip


def _spec(checkpoint: str, home: Home, *, dataset: str | None, **options: Any) -> EvaluationSpec:
    """The attack in question, on the run's own dataset where none is named, by the task of its kind."""
    name = dataset or run_of(checkpoint, home, Index(home.database_url)).source
    if not name:
        raise UserError(f"{checkpoint} was trained on no dataset of the store", hint="name one: --dataset NAME")
    with open_dataset(name, home) as opened:
        captions = bool(opened.info.captions)
    task = next(one.name for one in tasks.TASKS.values() if one.captions == captions)
    return evaluation_spec(checkpoint, (name,), (ATTACK,), task=task, steps=MANY, batch_size=BATCH, **options)


def _announce(evidence: Evidence) -> None:
    """Say how long it takes, by the first gradients of all images."""
    with torch.no_grad():
        evidence.victim.encode_images(evidence.some_images)  # what is loaded and made once is not counted
    started = time.monotonic()
    evidence.gradients  # noqa: B018
    seconds = (time.monotonic() - started) * sum(check.steps for check in CHECKS)
    told = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
    say(f"{evidence.n} images of {evidence.spec.datasets[0]}: at most about {told}")


def _looked(check: Check, evidence: Evidence) -> tuple[Row, Finding | None]:
    """What a check found; one that cannot be run here says why."""
    try:
        finding = check.look(evidence)
    except UserError as error:
        return Row("gradient masking", check.name, SKIP, f"not looked at: {error}"), None
    status = WARN if finding.advice else OK
    return Row("gradient masking", check.name, status, finding.found, finding.advice), finding
