"""The rows of a report: one evaluation each, with its interval and the paper's number where there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..specs import TrainSpec, train_spec
from .paper import note, number

if TYPE_CHECKING:  # the index brings SQLAlchemy along, which `mmcoa report --help` does without
    from store.index import Index
    from store.schema import Evaluation, Run


@dataclass(frozen=True)
class Row:
    """One result. `value`, `ci95`, `paper` and `attack_success_rate` are fractions in [0, 1].

    What an attack does not have is None: `norm` to `stop_when_fooled` belong to the image attack, `mlm` to `collisions`
    to the text attack, and a multimodal attack has both.
    """

    method: str
    model: str
    source: str  # the training dataset, empty for zero-shot
    shots: str
    dataset: str
    attack: str
    metric: str
    compat: str  # of the evaluation; `train_compat` is the training run's
    value: float
    n: int
    ci95: tuple[float, float]
    seed: int
    run: str
    evaluation: str
    paper: float | None = None
    paper_note: str = ""  # what sets the paper's number apart from this result
    paper_full: float | None = None  # the paper's number after full training, where this run saw fewer images
    attack_success_rate: float | None = None
    norm: str | None = None
    eps: str | None = None
    alpha: str | None = None
    steps: int | None = None
    stop_when_fooled: bool | None = None
    pixel_size: int | None = None  # the side of the images that were attacked
    mlm: str | None = None
    mlm_stand_in: bool | None = None
    max_words_changed: int | None = None
    no_collisions: bool | None = None
    collisions: int | None = None  # of `prompts` adversarial prompts, those that name another class
    prompts: int | None = None
    stand_in: bool = False  # the CLIP model is no published one
    limit: int | None = None
    partial: bool = False  # some classes of the dataset have no image
    data: str = ""  # the beginning of the dataset's checksum
    precision: str = "fp32"
    train_seed: int = 0
    train_compat: str = "none"
    training: str = ""  # the settings of the training run that are not the paper's


SELECTIONS: dict[str, Callable[[Run, Evaluation], bool]] = {
    "iid": lambda run, evaluation: run.source in ("", evaluation.dataset),
}


def rows(index: Index, task: catalog.TaskRow, *, paper: bool = True) -> list[Row]:
    """Every evaluation in the index that belongs to `task`, in the order of its tables; without the paper's numbers
    unless `paper`. Raises UserError when there is none."""
    found = [
        row_of(run, evaluation, task=task.name) if paper else _without_paper(run, evaluation)
        for run, evaluation in index.evaluations()
        if evaluation.attack in task.attacks and SELECTIONS[task.name](run, evaluation)
    ]
    if not found:
        raise UserError(
            f"the index holds no result for task {task.name} yet",
            hint="mmcoa train --method mmcoa --shots 5   or, without a network: mmcoa demo",
        )
    return sorted(
        found,
        key=lambda row: (
            *(row.dataset, row.model, row.compat, row.seed),
            *order(row),
            *(row.run, task.attacks.index(row.attack), row.evaluation),
        ),
    )


def order(row: Row) -> tuple[int, str, float, str, str, str]:
    """What lines of a table are sorted by: the catalog's methods, those it does not know last, then the shots."""
    known = list(catalog.methods())
    method = known.index(row.method) if row.method in known else len(known)
    shots = float(row.shots) if row.shots.isdigit() else math.inf
    return (method, row.method, shots, row.source, row.train_compat, row.training)


def row_of(run: Run, evaluation: Evaluation, *, task: str = "iid") -> Row:
    """The row of one evaluation, with the number that the paper has for it in its table of `task`."""
    row = _without_paper(run, evaluation)
    value, full = number(row, task=task), number(replace(row, shots="full"), task=task)
    told = note(row) if value is not None else ""
    return replace(row, paper=value, paper_note=told, paper_full=full if row.shots != "full" else None)


def _without_paper(run: Run, evaluation: Evaluation) -> Row:
    image, text = evaluation.norm is not None, evaluation.mlm is not None
    spec = json.loads(evaluation.spec)
    return Row(
        method=run.method,
        model=run.model,
        source=run.source,
        shots=run.shots,
        dataset=evaluation.dataset,
        attack=evaluation.attack,
        metric=evaluation.metric,
        compat=evaluation.compat,
        value=evaluation.value,
        n=evaluation.n,
        ci95=wilson(evaluation.correct, evaluation.n),
        seed=evaluation.seed,
        run=run.id,
        evaluation=evaluation.id,
        attack_success_rate=evaluation.attack_success_rate,
        norm=evaluation.norm,
        eps=evaluation.eps,
        alpha=evaluation.alpha,
        steps=evaluation.steps,
        stop_when_fooled=evaluation.stop_when_fooled if image else None,
        pixel_size=_nested(spec, "examples", "data", "pixel_size"),
        mlm=evaluation.mlm,
        mlm_stand_in=evaluation.mlm_stand_in if text else None,
        max_words_changed=_nested(spec, "examples", "text", "max_words_changed"),
        no_collisions=evaluation.no_collisions if text else None,
        collisions=evaluation.collisions,
        prompts=len(json.loads(evaluation.prompts)) if evaluation.prompts else None,
        stand_in=run.model_stand_in,
        limit=evaluation.limit,
        partial=evaluation.partial,
        data=str(_nested(spec, "examples", "data", "checksum") or "")[:8],
        precision=evaluation.precision,
        train_seed=run.seed,
        train_compat=run.compat,
        training=_unusual(run) if run.kind == "train" else "",
    )


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% score interval of `correct` out of `n` (Wilson, 1927), without the second that scipy.stats takes to load.

    Raises ZeroDivisionError for n = 0.
    """
    z = NormalDist().inv_cdf(0.975)
    share, weight = correct / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _unusual(run: Run) -> str:
    """The training settings that are not the paper's, as "epochs 3, lr 0.0005"; of those that the method uses."""
    spec, row = json.loads(run.spec), catalog.methods().get(run.method)
    usual = asdict(train_spec(run.method) if row else TrainSpec(run.method))
    settings = ["epochs", "batch_size", "lr", "tune", "precision"]
    if row is None or "image" in row.attacks:
        settings += ["eps", "alpha", "steps"]
    if row is None or "text" in row.attacks:
        settings += ["contrast", "image_weight", "text_weight"]
    changed = [name for name in settings if name in spec and spec[name] != usual[name]]
    return ", ".join(f"{name.replace('_', ' ')} {spec[name]}" for name in changed)


def _nested(document: Any, *path: str) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document
