"""The keys of specifications, as the first version with these rules gave them: no refactoring moves one unseen.

Whoever changes what a specification computes raises a version, and makes this file anew.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.subject import Subject, Words
from mmcoa_cli.jobs.trials import Trial
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.keys import key_of
from store.schema import Run

GOLDEN = json.loads((Path(__file__).parent / "golden_keys.json").read_text(encoding="utf8"))
ZERO_SHOT = Run("clip-m", "zero-shot", "clip", "m", "own", "a" * 64, "", "0", 0, "none", "complete", "{}", "", "")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """30 images of three classes, under the checksum that the keys were made with."""
    path = tmp_path_factory.mktemp("data") / "pets.h5"
    with DatasetWriter(
        path, name="pets", class_names=("cat", "dog", "red_fox"), pixel_size=32, resize=None, image_size=32,
        template="This is a photo of a {}", source="made here",
    ) as writer:  # fmt: skip
        for label in [0, 1, 2] * 10:
            writer.add("test", np.zeros((32, 32, 3), np.uint8), label)
    dataset = Dataset.open(path)
    dataset.info = replace(dataset.info, checksum="c" * 64)
    return dataset


@pytest.mark.parametrize("case", GOLDEN["evaluation"], ids=lambda case: f"{case['attack']}-{case['options']}")
def test_an_example_set_has_the_key_it_had(case: dict[str, Any], pets: Dataset, tmp_path: Path) -> None:
    spec = evaluation_spec("m", ("pets",), (case["attack"],), **case["options"])
    subject = Subject(ZERO_SHOT, "a" * 64, Words("l", "b" * 64, "stand-in"))
    trial = Trial(spec, subject, Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}"), pets)
    identity = trial.identity(case["attack"])
    assert identity == case["spec"]
    assert (key_of(identity), trial.evaluation_id(case["attack"])) == (case["key"], case["evaluation"])


def test_the_same_attack_written_otherwise_is_one_specification() -> None:
    one = evaluation_spec("m", ("pets",), eps="2/510", steps=100, alpha="1/255")
    assert one == evaluation_spec("m", ("pets",)) and one.options == {}
    l2 = evaluation_spec("m", ("pets",), ("image",), norm="l2", eps="1/2", alpha="0.0125", steps=100)
    assert l2.options == {"norm": "l2", "eps": "0.5"}
