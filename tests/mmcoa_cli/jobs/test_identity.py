"""The keys of specifications stay what they are: those of `golden_keys.json` were made before identity had its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.jobs.identity import evaluation_id, of_examples, of_training, run_id
from mmcoa_cli.jobs.specs import EvaluationSpec, train_spec
from store.datasets import DatasetInfo
from store.keys import key_of

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "golden_keys.json").read_text())
INFO = DatasetInfo(
    "pets", ("cat", "dog", "red fox"), {"train": 30, "test": 12}, 32, 32, None, "This is a photo of a {}", "here",
    checksum="c" * 64,
)  # fmt: skip


def named(case: dict[str, Any]) -> str:
    return f"{case.get('attack', '')} {case['options']}"


@pytest.mark.parametrize("case", GOLDEN["evaluation"], ids=named)
def test_keys_of_example_sets(case: dict[str, Any]) -> None:
    spec = EvaluationSpec("run", (INFO.name,), **case["options"])
    made = of_examples(case["attack"], spec, INFO, weights=case["spec"]["weights"], mlm=_mlm(case["spec"].get("text")))
    assert made == case["spec"] and key_of(made) == case["key"]
    assert len({evaluation_id(run, case["key"], spec) for run in ("run", "other")}) == 2


@pytest.mark.parametrize("case", GOLDEN["training"], ids=named)
def test_ids_of_runs(case: dict[str, Any]) -> None:
    spec, wanted = train_spec(**{"dataset": INFO.name, **case["options"]}), case["identity"]
    attack = wanted["text_attack"]
    made = of_training(
        spec, INFO, indices=wanted["indices"], weights=wanted["weights"], mlm=attack[2] if attack else ""
    )
    assert made == wanted and run_id(spec, made) == case["run"]


def _mlm(section: dict[str, Any] | None) -> str:
    return str(section["mlm"]) if section else ""
