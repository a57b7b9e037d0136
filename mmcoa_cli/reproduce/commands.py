"""The plain `mmcoa` command of each step of a plan, to be typed by hand or handed to a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from ..specs import EvaluationSpec, TrainSpec, train_spec
from .order import Order


def train(spec: TrainSpec, order: Order) -> str:
    """The training of one run, without the tests that `mmcoa train` ends with."""
    options = ("model", "mlm", "epochs", "lr", "batch_size", "seed", "compat", "precision")
    words = ["train", "--method", spec.method, "--dataset", spec.dataset, "--shots", spec.shots]
    usual = train_spec(spec.method, dataset=spec.dataset)
    return _line(*words, *_changed(spec, usual, options), *_start(order), "--no-evaluate")


def evaluate(spec: EvaluationSpec, order: Order) -> str:
    """The test of one run on one dataset."""
    options = ("mlm", "steps", "limit", "seed", "batch_size", "precision", "compat")
    words = ["evaluate", "--checkpoint", spec.checkpoint, "--dataset", spec.datasets[0]]
    if spec.attacks != EvaluationSpec.attacks:
        words += ["--attack", ",".join(spec.attacks)]
    return _line(*words, *_changed(spec, EvaluationSpec("", ()), options), *_start(order))


def _changed(spec: Any, usual: Any, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if getattr(spec, name) != getattr(usual, name):
            yield from (f"--{name.replace('_', '-')}", str(getattr(spec, name)))


def _start(order: Order) -> Iterator[str]:
    if order.processes != 1:
        yield from ("--processes", str(order.processes))
    if order.accelerate_config:
        yield from ("--accelerate-config", str(order.accelerate_config))


def _line(*words: str) -> str:
    return shlex.join(["mmcoa", *words])
