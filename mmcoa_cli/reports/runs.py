"""The runs of the index, each with what it was made of and what came out: what `mmcoa runs` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from store.errors import UserError
from store.index import Index
from store.schema import Run

from ..attacks.base import ATTACKS
from ..attacks.settings import PgdSettings
from ..settings import Home
from ..terminal.durations import closely
from .filters import Filter
from .reading import Evaluated, together, unusual
from .threats import Threat
from .wording import percent

if TYPE_CHECKING:
    from rich.console import RenderableType

NONE = "–"
ACCURACIES = ("clean", "robust")


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
    tests: dict[str, list[Evaluated]] = {}
    for one in together(index.results(own=not wanted.datasets, datasets=wanted.datasets or None)):
        tests.setdefault(one.run.id, []).append(one)
    tested = {name: {one.main.dataset for one in of} for name, of in tests.items()}
    found = [run for run in runs if wanted.takes(run, run=run.id, datasets={run.source, *tested.get(run.id, ())})]
    if not found:
        raise wanted.none_of(runs, datasets=set().union(*tested.values()) | {run.source for run in runs} - {""})
    took = index.epoch_seconds()
    return [listed_run(run, took.get(run.id, ()), tests.get(run.id, ())) for run in reversed(found)]


def listed_run(run: Run, epochs: Sequence[float], tests: Sequence[Evaluated]) -> Listed:
    """The run, the seconds of its `epochs`, and what its `tests` (the oldest first) say of it."""
    every = [accuracy(one) for one in tests]
    on = run.source if any(one.dataset == run.source for one in every) else every[-1].dataset if every else ""
    newest = {one.attack: one for one in every if one.dataset == on}
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
        clean=next((one for name, one in newest.items() if _changes_nothing(name)), None),
        robust=min(attacked, key=lambda one: one.value, default=None),
    )


def accuracy(one: Evaluated) -> Accuracy:
    """What one evaluation gave."""
    main = one.main
    eps = Threat.of(main.attack, main.threat).options.get("eps")
    told = {name: getattr(main, name) for name in Accuracy.__dataclass_fields__ if hasattr(main, name)}
    return Accuracy(**told, eps=eps, ci95=(main.low, main.high))


def _settings(run: Run) -> dict[str, Any]:
    """The settings of its training that are not the paper's."""
    compat = {"compat": run.compat} if run.compat != "none" else {}
    return {**unusual(run.method, run.spec), **compat} if run.kind == "train" else {}


def _took(run: Run, epochs: Sequence[float]) -> float | None:
    """The seconds of its epochs; of a run that recorded none, from its beginning to its end."""
    if run.kind != "train":
        return None
    if epochs or not run.finished_at:
        return sum(epochs) or None
    return (datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.created_at)).total_seconds()


def _changes_nothing(attack: str) -> bool:
    return attack in ATTACKS and ATTACKS[attack].changes_nothing


def table(runs: Sequence[Listed], *, width: int) -> RenderableType:
    """Two lines a run; where that is wider than `width` columns, a paragraph each."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    grid.add_column("run", width=max(len(one.run) for one in runs))
    for name in ("model", "when"):
        grid.add_column(name, no_wrap=True)
    for name in ACCURACIES:
        grid.add_column(name, justify="right", no_wrap=True)
    for one in runs:
        first, second = _lines(one)
        grid.add_row(*(Text(text, "bold" if text == one.run else "") for text in first))
        grid.add_row(*(Text(text, "dim") for text in second))
    return grid if Console(width=10**6).measure(grid).maximum <= width else _paragraphs(runs)


def _paragraphs(runs: Sequence[Listed]) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for one in runs:
        (run, *values), (settings, *details) = _lines(one)
        told = [f"{value} ({detail})" if detail else value for value, detail in zip(values, details, strict=True)]
        accuracies = (f"{name} {value}" for name, value in zip(ACCURACIES, told[2:], strict=True))
        lines = [Text(text) for text in (", ".join(told[:2]), ", ".join(accuracies))]
        lines += [Text(settings.strip(), "dim")] if settings.strip() else []
        parts += [Text(run, "bold"), *(Padding(line, (0, 0, 0, 2)) for line in lines)]
    return Group(*parts)


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
