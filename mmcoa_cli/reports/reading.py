"""From the index to the rows of a report: which results belong to a table, and what is told of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from store.errors import UserError
from store.row_checks import parsed

from .. import catalog
from ..attacks.base import ATTACKS, usual
from ..models.current_digests import Present
from ..models.epochs import epochs_of
from ..terminal.checks import one_of
from ..terminal.typed import typed
from . import outdated
from .layout import Layout
from .metrics import DETAILS
from .paper import marks, note
from .paper import numbers as papers
from .rows import Row, made
from .standing import standing
from .threats import Threat
from .trained import in_words

if TYPE_CHECKING:  # the index brings SQLAlchemy along, which `mmcoa report --help` does without
    from store.index import Index
    from store.schema import Result, Run, Value

OF_THREAT = (  # fields of a row that are options of attacks
    "norm", "eps", "alpha", "steps", "stop_when_fooled", "mlm_origin", "max_words_changed", "no_collisions",
    "image_version", "text_version",
)  # fmt: skip
OF_RESULT = (
    "dataset", "attack", "metric", "value", "n", "seed", "evaluation", "task", "examples", "created_at", "seconds",
    "device", "version",
)  # fmt: skip
_of_main = attrgetter(*OF_RESULT)
Fields = Mapping[str, Any]
Made = TypeVar("Made")


class Evaluated(NamedTuple):
    """One evaluation: its run, its main result, and the others by the name of their metric."""

    run: Run
    main: Result
    details: Mapping[str, Result | Value]


def together(results: Iterable[tuple[Run, Result]], details: Iterable[Value] = ()) -> list[Evaluated]:
    """Results that were measured at once, in the order in which they come; with the `details` that are not in them."""
    found: dict[str, tuple[Run, list[Result], dict[str, Result | Value]]] = {}
    for run, result in results:
        _, mains, beside = found.setdefault(result.evaluation, (run, [], {}))
        if result.metric in DETAILS:
            beside[result.metric] = result
        else:
            mains.append(result)
    for detail in details:
        if detail.evaluation in found:
            found[detail.evaluation][2][detail.metric] = detail
    return [Evaluated(run, main, beside) for run, mains, beside in found.values() for main in mains]


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
    which: dict[str, Any] = {"tasks": task.axis("task"), "attacks": attacks or None, "own": task.on_source}
    chosen = together(index.results(**which, besides=DETAILS), index.values(DETAILS, **which))
    if not chosen:
        raise _nothing(task, attacks)
    found = rows_of(chosen, numbers=task.numbers if paper else "", present=present)
    if task.sources and not task.on_source:
        found = _of_sources(found, task)
    found = standing(found, task)
    if not found:
        raise _nothing(task, attacks)
    return sorted(found, key=Layout(task).of_row)


def _nothing(task: catalog.TableRow, attacks: tuple[str, ...]) -> UserError:
    under = f" under the attack {' or '.join(attacks)}" if attacks else ""
    return UserError(f"the index holds no result for task {task.name}{under} yet", hint=_filling(task, attacks))


def _filling(task: catalog.TableRow, attacks: tuple[str, ...]) -> str:
    """What to type to have something in a report."""
    if task.attacks and not task.every:
        return f"{typed('reproduce', {'dry_run': True}, names=[task.name])}  # lists what it needs"
    of_task = {"task": task.tested_in} if task.tested_in != "classification" else {}
    if not of_task and set(attacks) <= {*usual()}:
        return "mmcoa train --method mmcoa --shots 5  # or, without a network: mmcoa demo"
    asked = {"attack": ",".join(attacks)} if attacks else {}
    return typed("evaluate", {"checkpoint": "RUN", "dataset": "NAME", **of_task, **asked})


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


def rows_of(found: Iterable[Evaluated], *, numbers: str = "iid", present: Present | None = None) -> list[Row]:
    """The rows of evaluations in their order, with the paper's numbers of its task `numbers`, unless that is empty."""
    of_run, of_threat, of_setting = _once(_of_run), _once(_of_threat), _once(_of_setting)
    every: list[tuple[Run, Row]] = []
    for one in found:
        shared = {**of_run(one.run), **of_threat(one.main.threat, one.main.attack), **of_setting(one.main.setting)}
        every.append((one.run, made({**shared, **_of_result(one.main, one.details)})))
    old = outdated.old_code({(row.threat, row.digests) for _, row in every})
    for run, row in every:
        beside = _papers(row, numbers) if numbers else {}
        earlier = outdated.replaced(row, run, present)
        vars(row).update(**beside, **earlier, earlier_code=(row.threat, row.digests) in old)
    return [row for _, row in every]


def _once(make: Callable[..., Made]) -> Callable[..., Made]:
    """`make`, which looks at each document once: the index shares those that are equal."""
    made: dict[tuple[Any, ...], tuple[object, Made]] = {}

    def of(document: object, *words: str) -> Made:
        key = (id(document), *words)
        if key not in made:
            made[key] = (document, make(document, *words))  # both are kept: nothing else may get the document's id
        return made[key][1]

    return of


def _of_run(run: Run) -> Fields:
    """The fields of a row that are the run's."""
    spec = parsed(run.spec)
    renamed = {"train_part": "part", "sha256": "model_sha256", "base": "base", "recipe": "recipe"}
    return {
        **{name: getattr(run, name) for name in ("method", "model", "source", "shots")},
        **{name: str(spec.get(told) or "") for name, told in renamed.items()},
        "run": run.id,
        "origin": run.model_origin,
        "train_seed": run.seed,
        "train_compat": run.compat,
        "epochs": epochs_of(run) if run.kind == "train" else 0,
        "training": in_words(run.method, spec) if run.kind == "train" else str(spec.get("told") or ""),
        "spec": spec,
    }


def _of_threat(document: Mapping[str, Any], attack: str) -> Fields:
    """The fields that the threat model decides."""
    threat = Threat.of(attack, document)
    return {
        **{name: threat.options.get(name) for name in OF_THREAT},
        "mlm": threat.options.get("mlm_name"),
        "mlm_weights": str(threat.options.get("mlm") or ""),
        "threat": threat,
    }


def _of_setting(setting: Mapping[str, Any]) -> Fields:
    """The fields that tell what was measured on, and how."""
    digests = setting.get("digests")
    return {
        **{name: str(setting.get(name) or "") for name in ("compat", "part", "data", "precision", "torch")},
        **{name: setting.get(name) for name in ("pixel_size", "limit")},
        "partial": bool(setting.get("partial")),
        "digests": digests if isinstance(digests, int) and digests else 1,
        "setting": setting,
    }


def _of_result(main: Result, details: Mapping[str, Result | Value]) -> Fields:
    """The fields of this one evaluation."""
    own, prompts = details.get(f"attack_success_rate_{main.metric}"), details.get("collisions")
    success = own or details.get("attack_success_rate")
    return {
        **dict(zip(OF_RESULT, _of_main(main), strict=True)),
        "ci95": (main.value if main.low is None else main.low, main.value if main.high is None else main.high),
        "weights": main.weights or "",
        "attack_success_rate": success.value if success else None,
        "own_success": (own.value, own.low or 0.0, own.high or 0.0) if own else None,
        "collisions": _counted(prompts),
        "distinct_prompts": _counted(details.get("distinct_prompts")),
        "prompts": prompts.n if prompts else None,
    }


def _counted(detail: Result | Value | None) -> int | None:
    """How many a share of a small number was."""
    return round(detail.value * detail.n) if detail else None


def _papers(row: Row, task: str) -> Fields:
    """The fields that the paper decides, by the numbers of its `task`."""
    own, full = papers(row, task=task)
    return {"paper": own, "paper_note": "" if own is None else note(marks(row)), "paper_full": full}
