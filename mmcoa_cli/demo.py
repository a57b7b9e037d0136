"""The whole way on embedded data: fetch, train the four methods, attack, report; no network, a few minutes on a CPU."""

from __future__ import annotations

from .jobs.launch import run
from .jobs.specs import TrainSpec, evaluation_after, train_spec
from .jobs.worker import Job, Outcome
from .settings import Home
from .terminal.console import say

METHODS = ("clip", "ft-standard", "tecoa", "mmcoa")
NEXT = (
    "mmcoa report --task iid --format markdown",
    "mmcoa attack text --checkpoint tiny-clip --dataset digits --mlm tiny-mlm",
    "mmcoa fetch cifar100 && mmcoa train --method mmcoa --shots 5",
)


def demo_spec(method: str) -> TrainSpec:
    """A run of the demo. Digits are coarse and the model is tiny, so the radius is far larger than the paper's."""
    return train_spec(
        method, dataset="digits", model="tiny-clip", mlm="tiny-mlm", epochs=10, lr=1.5e-4, eps="12/255", alpha="3/255"
    )


def run_demo(home: Home) -> list[Outcome]:
    """Train and evaluate every method on digits; what the store has is not done again."""
    from .datasets.fetching import fetch_dataset
    from .models.library import ensure_clip, ensure_mlm

    say("fetch digits, and train the stand-ins tiny-clip and tiny-mlm on the spot", head="1/3")
    fetch_dataset("digits", home)
    ensure_clip("tiny-clip", home)
    ensure_mlm("tiny-mlm", home)
    what = f"train {', '.join(METHODS)}; test each clean and under the image, text and multimodal attack"
    say(what, head="2/3")
    outcomes = []
    for method in METHODS:
        spec = demo_spec(method)
        outcomes.append(run(Job(spec, evaluation_after(spec))))
    say("report", head="3/3")
    return outcomes


def closing(home: Home, outcomes: list[Outcome]) -> list[str]:
    """Where each thing lies, and what to type next."""
    places = [
        ("datasets and models", f"{home.datasets}, {home.models}"),
        ("the weights of every epoch", home.checkpoints / outcomes[-1].run),
        ("adversarial examples", home.examples),
        ("the index of results", home.root / "index.db"),
    ]
    width = max(len(title) for title, _ in places)
    lines = ["", "Where it all is", *(f"  {title:<{width}}  {path}" for title, path in places)]
    return [*lines, "", "What to type next", *(f"  {command}" for command in NEXT)]
