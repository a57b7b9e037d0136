"""The runs of the index, each with what it was made of and what came out: what `mmcoa runs` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size

from store.errors import UserError
from store.index import Index
from store.row_checks import parsed
from store.schema import Result, Run

from ..attacks.base import ATTACKS
from ..attacks.settings import PgdSettings
from ..settings import Home
from ..tasks import TASKS
from ..terminal.console import out
from ..terminal.durations import closely
from ..terminal.lines import Styled, folded, print_lines
from .filters import Filter
from .metrics import DETAILS, NONE, measure_of, percent
from .threats import Threat
from .trained import unusual

ACCURACIES = ("clean", "robust")
GAP = "   "
HEADINGS = ("run", "model", "when", *ACCURACIES)
OF_RESULT = ("dataset", "attack", "metric", "value", "n", "evaluation", "created_at", "seconds", "examples")


@dataclass(frozen=True)
class Accuracy:
    """What a run's newest test under an attack gave. `value` and `ci95` are fractions in [0, 1]."""

    dataset: str
    attack: str
    eps: str | None
    metric: str
    value: float
    ci95: tuple[float | None, float | None]
    n: int
    evaluation: str
    created_at: str
    seconds: float
    examples: str  # the key of its example set

    @property
    def under(self) -> str:
        """ "multimodal, 4/255"."""
        return ", ".join(filter(None, (self.attack, self.eps)))


@dataclass(frozen=True)
class Listed:
    """One run. `settings` are those of its training that are not the paper's. `clean` is its accuracy under no attack,
    `robust` the lowest under any, both of the newest tests on one dataset: the one it was trained on, if it was."""

    run: str
    kind: str
    method: str
    model: str
    dataset: str  # that it was trained on; empty for none
    shots: str
    settings: dict[str, Any]
    seed: int
    status: str
    created_at: str
    seconds: float | None  # of its training; None where nothing recorded it
    clean: Accuracy | None
    robust: Accuracy | None


def listed(home: Home, wanted: Filter) -> list[Listed]:
    """The wanted runs, the newest first. Raises UserError where the index holds none of them."""
    index = Index(home.database_url)
    runs = index.runs()
    if not runs:
        raise UserError(
            "the index holds no run yet",
            hint="mmcoa train --method mmcoa --shots 5  # or, without a network: mmcoa demo",
        )
    tests: dict[str, list[Result]] = {}
    for one in index.newest(datasets=wanted.datasets, besides=DETAILS):
        tests.setdefault(one.run_id, []).append(one)
    tested = {name: {one.dataset for one in of} for name, of in tests.items()}
    found = [run for run in runs if wanted.takes(run, run=run.id, datasets={run.source, *tested.get(run.id, ())})]
    if not found:
        raise wanted.none_of(runs, datasets=set().union(*tested.values()) | {run.source for run in runs} - {""})
    took = index.epoch_seconds()
    return [listed_run(run, took.get(run.id, 0.0), tests.get(run.id, ())) for run in reversed(found)]


def listed_run(run: Run, epochs: float, tests: Sequence[Result]) -> Listed:
    """The run, the seconds that its `epochs` took, and what its `tests` (the oldest first) say of it."""
    tests = _accuracies(tests)
    on = run.source if any(one.dataset == run.source for one in tests) else tests[-1].dataset if tests else ""
    newest = {one.attack: one for one in tests if one.dataset == on}
    clean = next((one for name, one in newest.items() if _changes_nothing(name)), None)
    attacked = [one for name, one in newest.items() if not _changes_nothing(name)]
    return Listed(
        run=run.id,
        kind=run.kind,
        method=run.method,
        model=run.model,
        dataset=run.source,
        shots=run.shots,
        settings=_settings(run),
        seed=run.seed,
        status=run.status,
        created_at=run.created_at,
        seconds=_took(run, epochs),
        clean=accuracy(clean) if clean else None,
        robust=accuracy(min(attacked, key=lambda one: one.value)) if attacked else None,
    )


def _accuracies(tests: Sequence[Result]) -> list[Result]:
    """Of the first task that has shares the first: accuracies, else the recall of one. A cosine is none."""

    def counts(one: Result) -> bool:
        task = TASKS.get(one.task)  # one of a plugin may not be here
        return task is None or (task.shares and measure_of(one.metric) == measure_of(task.metrics[0]))

    names = dict.fromkeys((*TASKS, *(one.task for one in tests)))
    of_tasks = ([one for one in tests if one.task == name and counts(one)] for name in names)
    return next(filter(None, of_tasks), [])


def accuracy(one: Result) -> Accuracy:
    """What one evaluation gave."""
    eps = Threat.of(one.attack, one.threat).options.get("eps")
    return Accuracy(**{name: getattr(one, name) for name in OF_RESULT}, eps=eps, ci95=(one.low, one.high))


def _settings(run: Run) -> dict[str, Any]:
    """The settings of its training that are not the paper's."""
    compat = {"compat": run.compat} if run.compat != "none" else {}
    return {**unusual(run.method, parsed(run.spec)), **compat} if run.kind == "train" else {}


def _took(run: Run, epochs: float) -> float | None:
    """The seconds of its epochs; of a run that recorded none, from its beginning to its end."""
    if run.kind != "train":
        return None
    if epochs or not run.finished_at:
        return epochs or None
    return (datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.created_at)).total_seconds()


def _changes_nothing(attack: str) -> bool:
    return attack in ATTACKS and ATTACKS[attack].changes_nothing


def print_runs(runs: Sequence[Listed]) -> None:
    print_lines(lines_of(runs, width=out.width))


def lines_of(runs: Sequence[Listed], *, width: int) -> list[Styled]:
    """Two lines a run, in columns; where these are wider than `width`, a paragraph each."""
    told = [(one.run, *_lines(one)) for one in runs]
    beside = zip(HEADINGS[1:], *(cells[1:] for _, *both in told for cells in both), strict=True)
    widths = [max(cell_len(run) for run, *_ in told), *(max(map(cell_len, column)) for column in beside)]
    if sum(widths) + len(GAP) * (len(widths) - 1) > width:
        return [line for one in told for line in _paragraph(*one, width)]
    heading, *_ = _in_columns(HEADINGS, widths)
    found: list[Styled] = [(heading, "bold", ()), ("─" * len(heading), "", ())]
    for run, first, second in told:
        found += [(line, "", ((0, len(run)),)) for line in _in_columns(first, widths)]
        found += [(line, "dim", ()) for line in _in_columns(second, widths)]
    return found


def _in_columns(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The cells beside each other, numbers to the right; of the first one the rest below it."""
    first, *rest = folded(cells[0], widths[0])
    model, when, *numbers = (" " * (width - cell_len(text)) for text, width in zip(cells[1:], widths[1:], strict=True))
    beside = [cells[1] + model, cells[2] + when, *map("".join, zip(numbers, cells[3:], strict=True))]
    return [GAP.join([set_cell_size(first, widths[0]), *beside]), *rest]


def _paragraph(run: str, first: Sequence[str], second: Sequence[str], width: int) -> list[Styled]:
    values, details = first[1:], second[1:]
    told = [f"{value} ({detail})" if detail else value for value, detail in zip(values, details, strict=True)]
    accuracies = (f"{name} {value}" for name, value in zip(ACCURACIES, told[2:], strict=True))
    below = [(", ".join(told[:2]), ""), (", ".join(accuracies), ""), (second[0].strip(), "dim")]
    indented = [(f"  {part}", style, ()) for text, style in below if text for part in folded(text, width - 2)]
    return [*((part, "bold", ()) for part in folded(run, width)), *indented]


def _lines(one: Listed) -> tuple[list[str], list[str]]:
    settings = [f"{name.replace('_', ' ')} {value}" for name, value in one.settings.items()]
    status = [one.status] if one.status != "complete" else []
    seed = [f"seed {one.seed}"] if one.dataset else []
    known = (None, PgdSettings().eps, one.settings.get("eps"))
    under = (one.robust.attack if one.robust.eps in known else one.robust.under) if one.robust else ""
    return (
        [one.run, one.model, one.created_at[:10], *(_percent(found) for found in (one.clean, one.robust))],
        [
            "  " + ", ".join([*status, *seed, *settings]),
            "",
            closely(one.seconds) if one.seconds else "",
            f"n {one.clean.n:,}" if one.clean else "",
            under,
        ],
    )


def _percent(found: Accuracy | None) -> str:
    return percent(found.value) if found else NONE
