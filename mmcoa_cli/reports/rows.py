"""The rows of a report: one evaluation each, with its interval and the paper's number where there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import ATTACKS
from ..attacks.radii import canonical_or_same
from ..jobs.specs import TrainSpec, options_in, train_spec
from ..jobs.used import unused_in_training
from ..models.present import Present, data_key
from ..terminal.checks import one_of
from . import earlier
from .order import of_row
from .paper import note, number

if TYPE_CHECKING:  # the index brings SQLAlchemy along, which `mmcoa report --help` does without
    from store.index import Index
    from store.schema import Evaluation, Run


@dataclass(frozen=True)
class Row:
    """One result. `value`, `ci95`, `paper` and `attack_success_rate` are fractions in [0, 1].

    What an attack does not have is None: `norm` to `stop_when_fooled` belong to the image attack, `mlm` to
    `distinct_prompts` to the text attack, and a multimodal attack has both.
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
    mlm_origin: str | None = None  # as `origin`
    max_words_changed: int | None = None
    no_collisions: bool | None = None
    collisions: int | None = None  # of `prompts` adversarial prompts, those that name another class
    distinct_prompts: int | None = None  # of them, how many are different to the model
    prompts: int | None = None
    origin: str = "published"  # where the CLIP model is from: published, own or stand-in
    sha256: str = ""  # of the file of an own model
    limit: int | None = None
    partial: bool = False  # some classes of the dataset have no image
    part: str = ""  # which part of the test set the images are, as "400 of 1,880 test images"; empty for the whole
    data: str = ""  # the beginning of the dataset's checksum
    precision: str = "fp32"
    train_seed: int = 0
    train_compat: str = "none"
    training: str = ""  # the settings of the training run that are not the paper's
    train_part: str = ""  # which part of the training images the run was trained on; empty for the whole
    weights: str = ""  # the digest of the weights that were tested; empty where it was not recorded
    earlier_weights: bool = False  # the run or model of this name has other weights by now
    earlier_data: bool = False  # the dataset of this name has other images or prompts by now
    earlier_mlm: bool = False  # the masked LM of this name is another by now
    mlm_weights: str = ""  # the digest of the masked LM
    base: str = ""  # the digest of the weights that the run was trained from
    recipe: str = ""  # of the training: runs that share it differ in nothing but their seed
    earlier_base: bool = False  # the model of that name has other weights by now
    image_version: int | None = None  # of the code of the image attack
    text_version: int | None = None
    digests: int = 1  # how models were hashed when it was measured
    earlier_code: bool = False  # the report has results by a newer version of the attack, or of mmcoa
    threat: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # the settings of each part of the attack

    def get(self, name: str) -> Any:
        """A field, or an option of the attack; None where it has none of this name."""
        own = getattr(self, name, None) if name in COLUMNS else None
        return self.options.get(name) if own is None else own

    @property
    def options(self) -> dict[str, Any]:
        """The options of all parts of the attack; its own come before those of what it needs."""
        own = self.threat.get(self.attack, {})
        return {name: value for part in (*self.threat.values(), own) for name, value in part.items()}

    @property
    def further(self) -> dict[str, Any]:
        """The options that are no fields of a row."""
        known = {*COLUMNS, *UNLISTED, *("version", "mlm_name")}
        return {name: value for name, value in self.options.items() if name not in known}

    @property
    def measure(self) -> str:
        """What its metric is called whatever the attack: "accuracy"."""
        return self.metric.removeprefix("clean_").removeprefix("robust_")

    @property
    def earlier(self) -> bool:
        """Whether it is of something that has been replaced since under its name, or by older code."""
        return self.earlier_weights or self.earlier_data or self.earlier_mlm or self.earlier_code


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "threat")  # of CSV and JSON
OF_TRAINING = (
    "epochs", "batch_size", "lr", "tune", "precision", "eps", "alpha", "steps", "contrast", "image_weight",
    "text_weight",
)  # fmt: skip
UNLISTED = {"seed", "compat", "random_start", "max_candidates", "min_score"}  # options that no report has ever had


def rows(
    index: Index,
    task: catalog.TableRow,
    *,
    attacks: tuple[str, ...] = (),
    paper: bool = True,
    present: Present | None = None,
) -> list[Row]:
    """Every evaluation in the index that belongs to `task`, in the order of its tables; without the paper's numbers
    unless `paper`. `attacks` are those asked for, by default the ones that the task shows. Where it is told what is
    `present`, results of what has been replaced since are marked as `earlier`.

    Raises UserError when there is none, and for an attack that the task does not have.
    """
    attacks = attacks_of(task, attacks)
    chosen = [
        (run, evaluation)
        for run, evaluation in index.evaluations()
        if evaluation.attack in (attacks or [evaluation.attack])
        and (not task.on_source or run.source in ("", evaluation.dataset))
    ]
    made = [row_of(*one, task=task.numbers) if paper else _without_paper(*one) for one in chosen]
    if present:
        made = [earlier.compared(row, run, present) for row, (run, _) in zip(made, chosen, strict=True)]
    found = earlier.of_code(made)
    if not found:
        under = f" under the attack {' or '.join(attacks)}" if attacks else ""
        raise UserError(
            f"the index holds no result for task {task.name}{under} yet",
            hint="mmcoa train --method mmcoa --shots 5   or, without a network: mmcoa demo",
        )
    if not task.on_source:
        found = _of_sources(found, task)
    return sorted(found, key=lambda row: of_row(row, task))


def _of_sources(found: list[Row], task: catalog.TableRow) -> list[Row]:
    """Without the runs of a source that was tested on nothing but itself, unless it is the paper's or all are so."""
    trained = {row.source for row in found if row.source}
    elsewhere = {row.source for row in found if row.source not in ("", row.dataset)}
    shown = elsewhere | (trained & set(task.sources)) or trained
    return [row for row in found if row.source in ("", *shown)]


def attacks_of(task: catalog.TableRow, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The attacks of a report: those asked for, each once; else those that the table shows. Empty for all there are,
    where the table has a column or a line for each.

    Raises UserError for an attack that there is not.
    """
    for attack in asked:
        one_of("--attack", attack, tuple(dict.fromkeys((*task.attacks, *ATTACKS))))
    every = () if "attack" in (*task.lines, task.columns) else task.attacks
    return tuple(dict.fromkeys(asked)) or task.shown or every


def row_of(run: Run, evaluation: Evaluation, *, task: str = "iid") -> Row:
    """The row of one evaluation, with the number that the paper has for it in its table of `task`."""
    row = _without_paper(run, evaluation)
    value, full = number(row, task=task), number(replace(row, shots="full"), task=task)
    told = note(row) if value is not None else ""
    return replace(row, paper=value, paper_note=told, paper_full=full if row.shots != "full" else None)


def _without_paper(run: Run, evaluation: Evaluation) -> Row:
    image, text = evaluation.norm is not None, evaluation.mlm is not None
    spec, trained = json.loads(evaluation.spec), json.loads(run.spec)
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
        eps=canonical_or_same(evaluation.eps),
        alpha=canonical_or_same(evaluation.alpha),
        steps=evaluation.steps,
        stop_when_fooled=evaluation.stop_when_fooled if image else None,
        pixel_size=_nested(spec, "examples", "data", "pixel_size"),
        mlm=evaluation.mlm,
        mlm_origin=evaluation.mlm_origin if text else None,
        max_words_changed=_nested(spec, "examples", "text", "max_words_changed"),
        no_collisions=evaluation.no_collisions if text else None,
        collisions=evaluation.collisions,
        distinct_prompts=evaluation.distinct_prompts,
        prompts=len(json.loads(evaluation.prompts)) if evaluation.prompts else None,
        origin=run.model_origin,
        sha256=str(_nested(json.loads(run.spec), "model_sha256") or ""),
        limit=evaluation.limit,
        partial=evaluation.partial,
        part=str(_nested(spec, "part") or ""),
        data=data_of(_nested(spec, "examples")),
        precision=evaluation.precision,
        train_seed=run.seed,
        train_compat=run.compat,
        training=_unusual(run) if run.kind == "train" else "",
        train_part=str(_nested(trained, "part") or ""),
        weights=evaluation.weights or "",
        mlm_weights=str(_nested(spec, "examples", "text", "mlm") or ""),
        base=str(_nested(trained, "base") or ""),
        recipe=str(_nested(trained, "recipe") or ""),
        digests=_number(_nested(spec, "examples", "digests")) or 1,
        image_version=_number(_nested(spec, "examples", "image", "version")),
        text_version=_number(_nested(spec, "examples", "text", "version")),
        threat=_threat(evaluation, _nested(spec, "examples") or {}),
    )


def _threat(evaluation: Evaluation, examples: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if evaluation.norm is not None:
        found["image"] = {
            **examples.get("image", {}), "norm": evaluation.norm, "eps": canonical_or_same(evaluation.eps),
            "alpha": canonical_or_same(evaluation.alpha), "steps": evaluation.steps,
            "stop_when_fooled": evaluation.stop_when_fooled,
        }  # fmt: skip
    if evaluation.mlm is not None:
        found["text"] = {
            **examples.get("text", {}), "no_collisions": evaluation.no_collisions, "mlm_name": evaluation.mlm,
            "mlm_origin": evaluation.mlm_origin,
        }  # fmt: skip
    return found


def data_of(examples: Any) -> str:
    """The key of the images and prompts that an example set was made of; empty where it does not say."""
    images, prompts = _nested(examples, "data", "checksum"), _nested(examples, "prompts")
    return data_key(str(images), prompts if isinstance(prompts, list) else []) if images else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def wilson(correct: float, n: int) -> tuple[float, float]:
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
    spec, row = options_in(run.spec, TrainSpec), catalog.methods().get(run.method)
    usual = asdict(train_spec(run.method, dataset=run.source) if row else TrainSpec(run.method))
    unused = unused_in_training(run.method, tested=False) if row else frozenset()
    settings = [name for name in OF_TRAINING if name not in unused]
    changed = [name for name in settings if name in spec and spec[name] != usual[name]]
    return ", ".join(f"{name.replace('_', ' ')} {spec[name]}" for name in changed)


def _nested(document: Any, *path: str) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document
