"""The rows of a report: one evaluation each, with its interval and the paper's number where there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.radii import canonical_or_same
from ..jobs.specs import TrainSpec, options_in, train_spec
from ..models.present import Present
from ..terminal.checks import one_of
from . import earlier
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

    @property
    def earlier(self) -> bool:
        """Whether it is of something that has been replaced since under its name, or by older code."""
        return self.earlier_weights or self.earlier_data or self.earlier_mlm or self.earlier_code


DETAILS = ("attack_success_rate", "collisions", "distinct_prompts")
Order = tuple[Any, ...]


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
    chosen = together(index.results(attacks=attacks, own=task.on_source))
    made = [row_of(one, task=task.numbers) if paper else _without_paper(one) for one in chosen]
    if present:
        made = [earlier.compared(row, one.run, present) for row, one in zip(made, chosen, strict=True)]
    found = earlier.of_code(made)
    if not found:
        under = f" under the attack {' or '.join(attacks)}" if attacks != task.attacks else ""
        raise UserError(
            f"the index holds no result for task {task.name}{under} yet",
            hint="mmcoa train --method mmcoa --shots 5   or, without a network: mmcoa demo",
        )
    if not task.on_source:
        found = _of_sources(found, task)
    sort = _by_dataset if task.on_source else _by_source
    return sorted(found, key=lambda row: (*sort(row, task), row.run, attacks.index(row.attack), row.evaluation))


def _of_sources(found: list[Row], task: catalog.TableRow) -> list[Row]:
    """Without the runs of a source that was tested on nothing but itself, unless it is the paper's or all are so."""
    trained = {row.source for row in found if row.source}
    elsewhere = {row.source for row in found if row.source not in ("", row.dataset)}
    shown = elsewhere | (trained & set(task.sources)) or trained
    return [row for row in found if row.source in ("", *shown)]


def attacks_of(task: catalog.TableRow, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The attacks of a report: those asked for, each once. Raises UserError for one that the task does not have."""
    for attack in asked:
        one_of("--attack", attack, task.attacks)
    return tuple(dict.fromkeys(asked)) or task.shown or task.attacks


def order(row: Row) -> Order:
    """What lines of a table are sorted by: the catalog's methods, those it does not know last, then the shots."""
    settings = (row.source, row.train_compat, row.training, row.train_part)
    return (*_method(row), _shots(row), *settings, *earlier.state(row))


def order_by_shots(row: Row) -> Order:
    """The same, by shots first: zero-shot, then the methods at 1 image a class, and so on to full."""
    return (_shots(row), *order(row))


def _method(row: Row) -> tuple[int, str]:
    known = list(catalog.methods())
    return (known.index(row.method) if row.method in known else len(known), row.method)


def _shots(row: Row) -> float:
    return float(row.shots) if row.shots.isdigit() else math.inf


def _by_dataset(row: Row, task: catalog.TableRow) -> Order:
    return (row.dataset, row.model, row.compat, row.seed, *order(row))


def _by_source(row: Row, task: catalog.TableRow) -> Order:
    place = task.datasets.index(row.dataset) if row.dataset in task.datasets else len(task.datasets)
    attack = task.attacks.index(row.attack)
    return (attack, row.model, row.compat, row.seed, row.source, *order_by_shots(row), place, row.dataset)


def row_of(found: Evaluated, *, task: str = "iid") -> Row:
    """The row of one evaluation, with the number that the paper has for it in its table of `task`."""
    row = _without_paper(found)
    value, full = number(row, task=task), number(replace(row, shots="full"), task=task)
    told = note(row) if value is not None else ""
    return replace(row, paper=value, paper_note=told, paper_full=full if row.shots != "full" else None)


def _without_paper(found: Evaluated) -> Row:
    run, main, details, setting = found.run, found.main, found.details, found.main.setting
    image, text = _section(main.threat, "image"), _section(main.threat, "text")
    trained, success = json.loads(run.spec), details.get("attack_success_rate")
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
        norm=image.get("norm"),
        eps=canonical_or_same(image.get("eps")),
        alpha=canonical_or_same(image.get("alpha")),
        steps=image.get("steps"),
        stop_when_fooled=image.get("stop_when_fooled"),
        pixel_size=setting.get("pixel_size"),
        mlm=text.get("mlm_name"),
        mlm_origin=text.get("mlm_origin"),
        max_words_changed=text.get("max_words_changed"),
        no_collisions=text.get("no_collisions"),
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
        mlm_weights=str(text.get("mlm") or ""),
        base=str(trained.get("base") or ""),
        recipe=str(trained.get("recipe") or ""),
        digests=_number(setting.get("digests")) or 1,
        image_version=_number(image.get("version")),
        text_version=_number(text.get("version")),
    )


def _section(threat: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = threat.get(name)
    return found if isinstance(found, dict) else {}


def _counted(detail: Result | None) -> int | None:
    """How many a share of a small number was."""
    return round(detail.value * detail.n) if detail else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _unusual(run: Run) -> str:
    """The training settings that are not the paper's, as "epochs 3, lr 0.0005"; of those that the method uses."""
    spec, row = options_in(run.spec, TrainSpec), catalog.methods().get(run.method)
    usual = asdict(train_spec(run.method, dataset=run.source) if row else TrainSpec(run.method))
    settings = ["epochs", "batch_size", "lr", "tune", "precision"]
    if row is None or "image" in row.attacks:
        settings += ["eps", "alpha", "steps"]
    if row is None or "text" in row.attacks:
        settings += ["contrast", "image_weight", "text_weight"]
    changed = [name for name in settings if name in spec and spec[name] != usual[name]]
    return ", ".join(f"{name.replace('_', ' ')} {spec[name]}" for name in changed)
