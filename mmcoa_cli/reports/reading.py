"""From the index to the rows of a report: which results belong to a table, and what is told of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import ATTACKS
from ..attacks.radii import canonical_or_same
from ..jobs.training_spec import stored_spec
from ..models.epochs import epochs_of
from ..models.present import Present
from ..tasks import TASKS
from ..terminal.checks import one_of
from . import earlier
from .order import of_row
from .paper import note, number
from .rows import COLUMNS, Row

if TYPE_CHECKING:  # the index brings SQLAlchemy along, which `mmcoa report --help` does without
    from store.index import Index
    from store.schema import Result, Run

RADII = ("eps", "alpha")
OF_ATTACK = (  # options that have a field of their own in a row
    "norm", "eps", "alpha", "steps", "stop_when_fooled", "mlm_origin", "max_words_changed", "no_collisions",
)  # fmt: skip
USUAL = (  # what a run says of itself that is never unusual
    "seed", "shots", "model", "mlm", "part", "model_sha256", "base", "recipe", "data_key", "mlm_weights",
)  # fmt: skip
DETAILS = {detail for task in TASKS.values() for detail in task.details}


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
    """The attacks of a report: those asked for, each once; else those that the table shows. Empty for all there are,
    where the table has a column or a line for each.

    Raises UserError for an attack that there is not.
    """
    for attack in asked:
        one_of("--attack", attack, tuple(dict.fromkeys((*task.attacks, *ATTACKS))))
    every = () if "attack" in (*task.lines, task.columns) else task.attacks
    return tuple(dict.fromkeys(asked)) or task.shown or every


def row_of(found: Evaluated, *, task: str = "iid") -> Row:
    """The row of one evaluation, with the number that the paper has for it in its table of `task`."""
    row = _without_paper(found)
    value = number(row, task=task)
    full = number(row, task=task, shots="full") if row.shots != "full" else None
    told = note(row) if value is not None else ""
    return row if value is full is None else replace(row, paper=value, paper_note=told, paper_full=full)


def _without_paper(found: Evaluated) -> Row:
    main, details, setting = found.main, found.details, found.main.setting
    success = details.get("attack_success_rate")
    return Row(
        dataset=main.dataset,
        attack=main.attack,
        metric=main.metric,
        compat=str(setting.get("compat") or ""),
        value=main.value,
        n=main.n,
        ci95=(main.value if main.low is None else main.low, main.value if main.high is None else main.high),
        seed=main.seed,
        evaluation=main.evaluation,
        attack_success_rate=success.value if success else None,
        pixel_size=setting.get("pixel_size"),
        collisions=_counted(details.get("collisions")),
        distinct_prompts=_counted(details.get("distinct_prompts")),
        prompts=details["collisions"].n if "collisions" in details else None,
        limit=setting.get("limit"),
        partial=bool(setting.get("partial")),
        part=str(setting.get("part") or ""),
        data=str(setting.get("data") or ""),
        precision=str(setting.get("precision") or ""),
        weights=main.weights or "",
        digests=_number(setting.get("digests")) or 1,
        setting=setting,
        **_of_run(found.run),
        **_attacked(main),
    )


@lru_cache(maxsize=4096)
def _of_run(run: Run) -> Mapping[str, Any]:
    """The fields of a row that are the run's."""
    spec = json.loads(run.spec)
    return {
        "run": run.id,
        "method": run.method,
        "model": run.model,
        "source": run.source,
        "shots": run.shots,
        "origin": run.model_origin,
        "train_seed": run.seed,
        "train_compat": run.compat,
        "epochs": epochs_of(run) if run.kind == "train" else 0,
        "training": _unusual(run.method, spec) if run.kind == "train" else str(spec.get("told") or ""),
        "train_part": str(spec.get("part") or ""),
        "sha256": str(spec.get("model_sha256") or ""),
        "base": str(spec.get("base") or ""),
        "recipe": str(spec.get("recipe") or ""),
    }


def _attacked(main: Result) -> dict[str, Any]:
    """The fields of a row that the threat model decides. Older indexes have radii in other forms."""
    threat = {
        name: {option: canonical_or_same(value) if option in RADII else value for option, value in part.items()}
        for name, part in main.threat.items()
        if isinstance(part, dict)
    }
    own = threat.get(main.attack, {})
    options = {name: value for part in (*threat.values(), own) for name, value in part.items()}
    versions = {f"{name}_version": part.get("version") for name, part in threat.items()}
    told = {**versions, **{name: options.get(name) for name in OF_ATTACK}}
    return {
        **{name: value for name, value in told.items() if name in COLUMNS},
        "mlm": options.get("mlm_name"),
        "mlm_weights": str(options.get("mlm") or ""),
        "threat": threat,
    }


def _counted(detail: Result | None) -> int | None:
    """How many a share of a small number was."""
    return round(detail.value * detail.n) if detail else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _unusual(method: str, spec: Mapping[str, Any]) -> str:
    """The training settings that are not the paper's, as "epochs 3, lr 0.0005"; of those that the method uses."""
    return _unusual_in(method, json.dumps({name: value for name, value in spec.items() if name not in USUAL}))


@lru_cache(maxsize=1024)  # of many runs, which differ in their seeds or images, few are trained otherwise
def _unusual_in(method: str, spec: str) -> str:
    try:
        changed = stored_spec(method, spec).unusual()
    except (UserError, TypeError):  # of an index from elsewhere
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in changed.items())
