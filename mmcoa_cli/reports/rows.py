"""The rows of a report: one evaluation each, with its interval and the paper's number where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import ATTACKS
from ..attacks.radii import canonical_or_same
from ..jobs.training_spec import stored_spec
from ..models.present import Present
from ..terminal.checks import one_of
from . import earlier
from .order import of_row
from .paper import note, number

if TYPE_CHECKING:  # the index brings SQLAlchemy along, which `mmcoa report --help` does without
    from store.index import Index
    from store.schema import Result, Run


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
        return options_of(self.threat, self.attack)

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
DETAILS = ("attack_success_rate", "collisions", "distinct_prompts")
RADII = ("eps", "alpha")
OF_ATTACKS = (  # options that are fields of a row
    "norm", "eps", "alpha", "steps", "stop_when_fooled", "mlm_origin", "max_words_changed", "no_collisions",
)  # fmt: skip
OF_TRAINING = (
    "epochs", "batch_size", "lr", "tune", "precision", "eps", "alpha", "steps", "contrast", "image_weight",
    "text_weight",
)  # fmt: skip
UNLISTED = {"seed", "compat", "random_start", "max_candidates", "min_score"}  # options that no report has ever had


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: its run, its main result, and the others by the name of their metric."""

    run: Run
    main: Result
    details: Mapping[str, Result]


def together(results: Iterable[tuple[Run, Result]]) -> list[Evaluated]:
    """Results that were measured at once, in the order in which they come."""
    found: dict[str, tuple[Run, list[Result]]] = {}
    for run, result in results:
        found.setdefault(result.evaluation, (run, []))[1].append(result)
    return [
        Evaluated(run, result, {detail.metric: detail for detail in of if detail.metric in DETAILS})
        for run, of in found.values()
        for result in of
        if result.metric not in DETAILS
    ]


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
    chosen = together(index.results(attacks=attacks or None, own=task.on_source))
    made = [row_of(one, task=task.numbers) if paper else _without_paper(one) for one in chosen]
    if present:
        made = [earlier.compared(row, one.run, present) for row, one in zip(made, chosen, strict=True)]
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
    """The attacks of a report: those asked for, each once; else those that the table shows, empty for all there are.

    Raises UserError for an attack that there is not.
    """
    for attack in asked:
        one_of("--attack", attack, tuple(dict.fromkeys((*task.attacks, *ATTACKS))))
    return tuple(dict.fromkeys(asked)) or task.shown


def row_of(found: Evaluated, *, task: str = "iid") -> Row:
    """The row of one evaluation, with the number that the paper has for it in its table of `task`."""
    row = _without_paper(found)
    value, full = number(row, task=task), number(replace(row, shots="full"), task=task)
    told = note(row) if value is not None else ""
    return replace(row, paper=value, paper_note=told, paper_full=full if row.shots != "full" else None)


def _without_paper(found: Evaluated) -> Row:
    run, main, details, setting = found.run, found.main, found.details, found.main.setting
    trained, success = json.loads(run.spec), details.get("attack_success_rate")
    threat = {name: part for name, part in main.threat.items() if isinstance(part, dict)}
    options = options_of(threat, main.attack)
    further: dict[str, Any] = {**{name: options.get(name) for name in OF_ATTACKS}, **_versions(threat)}
    return Row(
        method=run.method,
        model=run.model,
        source=run.source,
        shots=run.shots,
        dataset=main.dataset,
        attack=main.attack,
        metric=main.metric,
        compat=str(setting.get("compat") or ""),
        value=main.value,
        n=main.n,
        ci95=(main.value if main.low is None else main.low, main.value if main.high is None else main.high),
        seed=main.seed,
        run=run.id,
        evaluation=main.evaluation,
        attack_success_rate=success.value if success else None,
        pixel_size=setting.get("pixel_size"),
        collisions=_counted(details.get("collisions")),
        distinct_prompts=_counted(details.get("distinct_prompts")),
        prompts=details["collisions"].n if "collisions" in details else None,
        origin=run.model_origin,
        sha256=str(trained.get("model_sha256") or ""),
        limit=setting.get("limit"),
        partial=bool(setting.get("partial")),
        part=str(setting.get("part") or ""),
        data=str(setting.get("data") or ""),
        precision=str(setting.get("precision") or ""),
        train_seed=run.seed,
        train_compat=run.compat,
        training=_unusual(run) if run.kind == "train" else "",
        train_part=str(trained.get("part") or ""),
        weights=main.weights or "",
        mlm=options.get("mlm_name"),
        mlm_weights=str(options.get("mlm") or ""),
        base=str(trained.get("base") or ""),
        recipe=str(trained.get("recipe") or ""),
        digests=_number(setting.get("digests")) or 1,
        threat=threat,
        **further,
    )


def options_of(threat: Mapping[str, Mapping[str, Any]], attack: str) -> dict[str, Any]:
    """The options of all parts of an attack; its own come before those of what it needs."""
    parts = (*threat.values(), threat.get(attack, {}))
    found = {name: value for part in parts for name, value in part.items()}
    return {name: canonical_or_same(value) if name in RADII else value for name, value in found.items()}


def _versions(threat: Mapping[str, Mapping[str, Any]]) -> dict[str, int | None]:
    """Of the code of each part that has a column for it."""
    return {
        f"{name}_version": _number(part.get("version")) for name, part in threat.items() if f"{name}_version" in COLUMNS
    }


def _counted(detail: Result | None) -> int | None:
    """How many a share of a small number was."""
    return round(detail.value * detail.n) if detail else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _unusual(run: Run) -> str:
    """The training settings that are not the paper's, as "epochs 3, lr 0.0005"; of those that the method uses."""
    try:
        changed = stored_spec(run.method, run.spec).unusual()
    except (UserError, TypeError):  # of an index from elsewhere
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in changed.items())
