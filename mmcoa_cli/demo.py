"""The whole way on embedded data: fetch, train the four methods, attack, report; no network, two minutes on 2 cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import catalog
from .jobs.training_spec import TrainSpec, train_spec
from .processes import that_fit
from .settings import Home, home

if TYPE_CHECKING:
    from .jobs.job import Outcome

METHODS = "four"  # a list of the catalog
# digits are coarse and the model is tiny, so the radius is far larger than the paper's; five steps of training's PGD
# reach it, and what is tested is attacked for 100
OPTIONS = {
    "dataset": "digits", "model": "tiny-clip", "mlm": "tiny-mlm", "epochs": 5, "lr": 3e-4, "eps": "12/255",
    "alpha": "3/255", "steps": 5,
}  # fmt: skip
EACH = 1.5e9  # bytes of memory that a process may take, of which most is libraries: several work at once
NEXT = (
    "mmcoa report --task iid --format markdown",
    "mmcoa attack text --checkpoint tiny-clip --dataset digits --mlm tiny-mlm",
    "mmcoa fetch cifar100 && mmcoa train --method mmcoa --shots 5",
)


def specs() -> list[TrainSpec]:
    """The runs of the demo."""
    return [train_spec(method, **OPTIONS) for method in catalog.lists()[METHODS]]


def show(*, as_json: bool) -> None:
    """Train and test every method on digits, and print what came of it; what the store has is not done again."""
    from .jobs.job import Start
    from .plans.typed_jobs import carry_out, training_jobs
    from .reports import results
    from .terminal import console

    done = carry_out(training_jobs(specs(), test={}), Start(), at_once=that_fit(EACH))
    results.show(done.outcomes, as_json=as_json, took=done.took)
    done.end()
    for line in () if as_json else closing(home(), done.outcomes):
        console.show(line)


def closing(home: Home, outcomes: Sequence[Outcome]) -> list[str]:
    """Where each thing lies, and what to type next."""
    places = [
        ("datasets and models", f"{home.datasets}, {home.models}"),
        ("the weights of a run", home.checkpoints / outcomes[-1].run),
        ("adversarial examples", home.examples),
        ("the index of results", home.root / "index.db"),
    ]
    width = max(len(title) for title, _ in places)
    lines = ["", "Where it all is", *(f"  {title:<{width}}  {path}" for title, path in places)]
    return [*lines, "", "What to type next", *(f"  {command}" for command in NEXT)]
