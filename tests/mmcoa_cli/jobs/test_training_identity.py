"""The ids of runs: those of today's specifications stay what they are; what decides the weights is part of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import MethodRow, OptimizerRow
from mmcoa_cli.datasets.sampling import few_shot
from mmcoa_cli.jobs.training_identity import of_training, recipe_of, run_id
from mmcoa_cli.jobs.training_spec import TrainSpec, options_of, stored_spec, train_spec
from store.dataset_info import DatasetInfo
from store.errors import UserError

GOLDEN = json.loads((Path(__file__).parent / "golden_keys.json").read_text(encoding="utf8"))["training"]


INFO = DatasetInfo(
    "pets", ("cat", "dog", "red_fox"), 32, None, catalog.TEMPLATE, "here", 32, {"train": 30, "test": 12},
    checksum="c" * 64,
)  # fmt: skip


def identity(spec: TrainSpec) -> dict[str, Any]:
    indices = few_shot(np.array([0, 1, 2] * 10), spec.shots, seed=spec.seed).tolist()
    mlm = "b" * 64 if "text" in spec.row.attacks else ""
    return of_training(spec, INFO, indices=indices, weights="a" * 64, mlm=mlm)


def run_of(spec: TrainSpec) -> str:
    return run_id(spec, identity(spec))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["run"])
def test_the_run_ids_of_today(golden: dict[str, Any]) -> None:
    spec = train_spec(**{"dataset": "pets", "model": "vit", "mlm": "mlm", **golden["options"]})
    document = identity(spec)
    assert json.loads(json.dumps(document)) == golden["identity"]
    assert run_id(spec, document) == golden["run"]
    assert recipe_of(document) == golden["recipe"]
    assert run_of(stored_spec(spec.method, json.dumps(spec.document()))) == golden["run"]


MMCOA = train_spec("mmcoa", dataset="pets")
OTHERS: dict[str, Any] = {
    "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 10, "weight_decay": 0.1, "betas": (0.9, 0.999),
    "norm": "l2", "eps": "2/255", "alpha": "2/255", "steps": 3, "random_start": False, "stop_when_fooled": True,
    "max_candidates": 5, "min_score": 0.4, "max_words_changed": 2, "no_collisions": True, "contrast": "class",
    "image_weight": 0.4, "text_weight": 0.4,
}  # fmt: skip


def test_every_option_of_a_method_changes_the_run() -> None:
    assert {*OTHERS} - {"optimizer"} == {*options_of(MMCOA.row)} - {"momentum"}
    runs = {name: run_of(MMCOA.changed(**{name: value})) for name, value in OTHERS.items()}
    assert len({run_of(MMCOA), *runs.values()}) == len(OTHERS) + 1
    momentum = MMCOA.changed(momentum=0.5)
    assert run_of(momentum) == run_of(MMCOA)  # Adam has none
    assert run_of(momentum.changed(optimizer="sgd")) != run_of(MMCOA.changed(optimizer="sgd"))


@pytest.mark.parametrize(
    ("name", "value"), [("eps", "4/1020"), ("alpha", "2/510"), ("image_weight", 1 / 2), ("betas", [0.9, 0.98])]
)
def test_an_option_that_is_as_usual_is_none(name: str, value: Any) -> None:
    spec = MMCOA.changed(**{name: value})
    assert spec == MMCOA and spec.options == {} and hash(spec) == hash(MMCOA)


def test_an_option_has_one_form() -> None:
    assert train_spec("tecoa", shots="05") == train_spec("tecoa", shots="5")
    assert MMCOA.changed(eps="4/510").options == {"eps": "2/255"}
    assert run_of(MMCOA.changed(image_weight=1)) == run_of(MMCOA.changed(image_weight=1.0))


def test_options_that_a_method_does_not_have() -> None:
    with pytest.raises(UserError, match="the method tecoa has no option contrast") as raised:
        train_spec("tecoa", contrast="class")
    assert "eps" in raised.value.hint and "contrast" not in raised.value.hint
    tested = train_spec("ft-standard", dataset="pets", eps="4/255")  # the radius of its test
    assert tested.image_attack.eps == "4/255" and run_of(tested) == run_of(train_spec("ft-standard", dataset="pets"))


def test_what_the_index_holds_gives_the_specification() -> None:
    spec = MMCOA.changed(optimizer="sgd", betas=(0.8, 0.9), eps="2/255", contrast="class", lr=1e-3)
    document = {**spec.document(), "part": "", "recipe": "x"}
    assert {"eps", "alpha", "steps", "contrast", "image_weight"} <= set(document)
    assert stored_spec("mmcoa", json.dumps(document)) == spec
    assert spec.unusual() == {"lr": 1e-3, "optimizer": "sgd", "eps": "2/255", "contrast": "class", "betas": (0.8, 0.9)}


def test_a_row_has_its_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = OptimizerRow("sgd", lr=1e-2, schedule="cosine")
    row = MethodRow("mine", loss="tecoa", attacks=("image",), trains="image", optimizer=optimizer)
    monkeypatch.setitem(catalog.methods(), "mine", row)
    spec = train_spec("mine", dataset="pets")
    assert (spec.optimizer, spec.lr, spec.tune, spec.optimization) == ("sgd", 1e-2, "image", row.optimizer)
    assert spec.optimization.decay == 0 and spec.changed(optimizer="adam").optimization.decay == 0.2
    assert identity(spec)["optimizer"] == {
        "lr": 1e-2, "epochs": 10, "batch_size": 128, "name": "sgd", "momentum": 0.9, "weight_decay": 0.0,
        "schedule": "cosine",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"optimizer": "lion"}, "--optimizer lion is unknown"),
        ({"schedule": "line"}, "-o schedule line is unknown"),
        ({"betas": (1.5, 0.9)}, "-o betas: 1.5 is not in"),
        ({"betas": (0.9, 1.0)}, "-o betas: 1 is not in"),
        ({"momentum": -0.1}, "-o momentum: -0.1 is not in"),
        ({"weight_decay": -1.0}, "-o weight_decay -1.0 is out of range"),
        ({"warmup_steps": -1}, "-o warmup_steps -1 is out of range"),
        ({"contrast": "all"}, "--contrast all is unknown"),
        ({"text_weight": -1}, "--text-weight -1.0 is no weight of a loss"),
        ({"eps": "x"}, "--eps 'x' is not a number"),
        ({"tune": "visual"}, "--tune visual is unknown"),
        ({"compat": "release", "stop_when_fooled": True}, "the released code attacks each image for all of its steps"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        MMCOA.changed(**options)
