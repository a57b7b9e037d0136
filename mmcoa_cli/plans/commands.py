"""The plain `mmcoa` command of each step of a plan, to be typed by hand or handed to a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..jobs.specs import EvaluationSpec, TrainSpec, train_spec
from ..jobs.used import unused_in_test, unused_in_training
from ..terminal.typed import changed, typed
from .order import Order

TRAINING = ("model", "mlm", "epochs", "lr", "batch_size", "seed", "compat", "precision")
TEST = ("mlm", "steps", "limit", "seed", "batch_size", "precision", "compat")


def train(spec: TrainSpec, order: Order) -> str:
    """The training of one run, without the tests that `mmcoa train` ends with."""
    named = {"method": spec.method, "dataset": spec.dataset, "shots": spec.shots}
    usual = train_spec(spec.method, dataset=spec.dataset).document()
    unused = unused_in_training(spec.method, tested=False)
    settings = changed({name: getattr(spec, name) for name in TRAINING if name not in unused}, usual)
    return typed("train", {**named, **settings, **_start(order), "no_evaluate": True})


def evaluate(spec: EvaluationSpec, order: Order) -> str:
    """The test of one run on one dataset."""
    named = {"checkpoint": spec.checkpoint, "dataset": spec.datasets[0]}
    if spec.attacks != EvaluationSpec.attacks:
        named["attack"] = ",".join(spec.attacks)
    unused = unused_in_test(spec.attacks)
    settings = changed(
        {name: getattr(spec, name) for name in TEST if name not in unused}, asdict(EvaluationSpec("", ()))
    )
    return typed("evaluate", {**named, **settings, **_start(order)})


def _start(order: Order) -> dict[str, Any]:
    started = {"processes": order.processes, "accelerate_config": order.accelerate_config}
    return changed(started, {"processes": 1, "accelerate_config": None})
