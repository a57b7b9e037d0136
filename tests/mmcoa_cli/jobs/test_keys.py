"""Every field of a specification, changed alone, changes the key; the lists of fields are read from the dataclasses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from mmcoa_cli.attacks import ATTACKS
from mmcoa_cli.attacks.base import every_option
from mmcoa_cli.attacks.co_attack import CoAttackSettings
from mmcoa_cli.attacks.settings import BertAttackSettings, PgdSettings
from mmcoa_cli.attacks.sga import SgaSettings
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import TrainSpec, options_of, train_spec
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.pretraining import PretrainSpec, identity
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.keys import key_of

from .conftest import SMALL_ATTACK, SMALL_RUN

TRAIN = train_spec("mmcoa", **SMALL_RUN)
NOT_OF_ADAM = {"momentum"}
TRAIN_CHANGES: dict[str, Any] = {
    "method": "tecoa", "dataset": "digits2", "shots": "3", "model": "resnet", "mlm": "mlm2", "epochs": 2,
    "batch_size": 4, "lr": 2e-3, "eps": "7/255", "alpha": "3/255", "steps": 3, "seed": 1, "tune": "image",
    "contrast": "class", "compat": "release", "precision": "bf16", "fast": True, "image_weight": 0.4,
    "text_weight": 0.4,
    "optimizer": "sgd", "schedule": "cosine", "warmup_steps": 10, "weight_decay": 0.1, "betas": (0.9, 0.999),
    "norm": "l2", "random_start": False, "stop_when_fooled": True, "max_candidates": 5, "min_score": 0.4,
    "recipe": "fast",
    "max_words_changed": 2, "no_collisions": True,
}  # fmt: skip
TEST = evaluation_spec("vit", ("digits",), mlm="mlm", limit=50, **SMALL_ATTACK)
TEST_CHANGES: dict[str, Any] = {
    "checkpoint": "resnet", "datasets": ("digits2",), "mlm": "mlm2", "norm": "l2", "eps": "7/255", "alpha": "3/255",
    "steps": 3, "limit": 40, "pixel_size": 12, "seed": 1, "precision": "bf16", "fast": True, "stop_when_fooled": True,
    "no_collisions": True, "compat": "release", "random_start": False, "max_candidates": 5, "min_score": 0.4,
    "max_words_changed": 2, "text_weight": 1.0, "targets": 3, "queries": 10, "members": "apgd-ce",
}  # fmt: skip
# the options are changed one by one, another task takes other data, and an epoch is of a run
NOT_YET = {"options", "task", "epoch"}
NOT_DECIDING = {
    "attacks": "each attack has an example set and a row of its own, whatever others are asked for with it",
    "batch_size": "blocks of another size give the same up to rounding (method.md): it is recorded",
}
PIXELS, WORDS = {"image", "multimodal", "co-attack"}, {"text", "multimodal", "co-attack"}
BALL = {*PIXELS, "embedding", "autoattack"}
USED_BY = {  # what the options of attacks decide; each leaves the examples of all other attacks as they are
    "norm": BALL, "eps": BALL, "steps": BALL, "alpha": BALL - {"autoattack"}, "random_start": BALL - {"autoattack"},
    "stop_when_fooled": PIXELS, "mlm": WORDS, "no_collisions": WORDS,
    "max_candidates": WORDS, "min_score": WORDS, "max_words_changed": WORDS, "text_weight": {"co-attack"},
    "targets": {"autoattack"}, "queries": {"autoattack"}, "members": {"autoattack"},
}  # fmt: skip
PRETRAIN = PretrainSpec("x", {"embed_dim": 8}, "digits")
PRETRAIN_CHANGES: dict[str, Any] = {
    "name": "y", "config": {"embed_dim": 16}, "dataset": "digits2", "epochs": 31, "batch_size": 64, "lr": 1e-4,
    "seed": 1, "precision": "bf16", "flip": True,
}  # fmt: skip
IMAGE_CHANGES: dict[str, Any] = {
    "norm": "l2", "eps": "2/255", "alpha": "2/255", "steps": 3, "random_start": False, "stop_when_fooled": True,
}  # fmt: skip
TEXT_CHANGES: dict[str, Any] = {
    "max_candidates": 5, "min_score": 0.4, "max_words_changed": 2, "no_collisions": True, "compat": "release",
}  # fmt: skip


def _of_sga(changes: dict[str, Any]) -> dict[str, Any]:
    """It cannot stop when it fools, nor can captions have the names of classes."""
    return {name: value for name, value in changes.items() if name not in ("stop_when_fooled", "no_collisions")}


SGA_CHANGES: dict[str, Any] = {"scales": (1.0, 2.0), "noise": 0.1, "antialias": False}  # of an attack on captions


@pytest.fixture
def full(home: Home) -> Home:
    """The store with a second dataset and a second masked LM, each other than the first in one thing."""
    with open_dataset("digits", home) as first, _writer(home.datasets / "digits2.h5", first.info) as writer:
        for split in first.info.splits:
            for i, label in enumerate(first.labels(split)):
                image = first.images(split, [i])[0].copy()
                image[0, 0, 0] = 255 - image[0, 0, 0]
                writer.add(split, image, int(label))
    mlm = AutoModelForMaskedLM.from_pretrained(home.mlms / "mlm", local_files_only=True)
    mlm.config.num_attention_heads = 1  # the same weights and vocabulary, another model
    mlm.save_pretrained(home.mlms / "mlm2")
    AutoTokenizer.from_pretrained(home.mlms / "mlm", local_files_only=True).save_pretrained(home.mlms / "mlm2")
    return home


def _writer(path: Path, info: Any) -> DatasetWriter:
    return DatasetWriter(
        path, name=path.stem, class_names=info.class_names, pixel_size=info.pixel_size, resize=info.resize,
        template=info.template, source="test", image_size=info.image_size,
    )  # fmt: skip


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def test_every_field_of_a_training_changes_the_run(full: Home) -> None:
    assert set(TRAIN_CHANGES) == names(TrainSpec) - {"options"} | {*options_of(TRAIN.row)} - NOT_OF_ADAM
    runs = {name: make_plan(TRAIN.changed(**{name: value}), full).run for name, value in TRAIN_CHANGES.items()}
    assert len({make_plan(TRAIN, full).run, *runs.values()}) == len(runs) + 1


def keys(home: Home, spec: EvaluationSpec) -> dict[str, str]:
    """The ids of the rows that an evaluation would make, by attack."""
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    return {attack: trial.evaluation_id(attack) for attack in spec.attacks}


@pytest.mark.slow
def test_every_field_of_a_test_changes_the_key_of_what_uses_it(full: Home) -> None:
    assert set(TEST_CHANGES) | set(NOT_DECIDING) == {*names(EvaluationSpec), *every_option()} - NOT_YET - {*SGA_CHANGES}
    attacks = {name for name, attack in ATTACKS.items() if attack.on != "captions"}
    every = TEST.changed(attacks=tuple(attacks))
    before = keys(full, every)
    for name, value in TEST_CHANGES.items():
        after = keys(full, every.changed(**{name: value}))
        changed = {attack for attack in before if before[attack] != after[attack]}
        assert changed == USED_BY.get(name, attacks), name


def test_every_field_of_a_pretraining_changes_the_key(full: Home) -> None:
    assert set(PRETRAIN_CHANGES) == names(PretrainSpec)
    changed = [replace(PRETRAIN, **{name: value}) for name, value in PRETRAIN_CHANGES.items()]
    found = {key_of(identity(spec, open_dataset(spec.dataset, full))) for spec in (PRETRAIN, *changed)}
    assert len(found) == len(changed) + 1


@pytest.mark.parametrize(
    ("attack", "changes"),
    [
        (PgdSettings(), IMAGE_CHANGES),
        (BertAttackSettings(), TEXT_CHANGES),
        (CoAttackSettings(), {**IMAGE_CHANGES, "text_weight": 1.0}),
        (SgaSettings(), _of_sga({**IMAGE_CHANGES, **TEXT_CHANGES, **SGA_CHANGES})),
    ],
    ids=["image", "text", "co-attack", "sga"],
)
def test_every_setting_of_an_attack_changes_its_key(attack: Any, changes: dict[str, Any]) -> None:
    assert set(changes) == names(type(attack))
    found = [key_of(asdict(replace(attack, **{name: value}))) for name, value in changes.items()]
    assert len({key_of(asdict(attack)), *found}) == len(changes) + 1


DECIDING: list[Callable[[dict[str, Any]], None]] = [
    lambda config: config["preprocess_cfg"].update(mean=[0.5, 0.5, 0.5]),
    lambda config: config["preprocess_cfg"].update(std=[0.5, 0.5, 0.5]),
    lambda config: config["model_cfg"].update(quick_gelu=True),
]


@pytest.mark.parametrize("change", DECIDING, ids=["mean", "std", "activation"])
def test_what_a_model_does_with_pixels_is_in_the_keys(home: Home, change: Callable[[dict[str, Any]], None]) -> None:
    spec = TEST.changed(attacks=("clean",))
    before, run = keys(home, spec), make_plan(TRAIN, home).run
    path = home.clips / "vit" / "open_clip_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.unlink()  # the file is a link
    path.write_text(json.dumps(config))
    (home.clips / "vit" / "source.json").unlink()  # where it is recorded, it would be refused as altered
    assert keys(home, spec) != before and make_plan(TRAIN, home).run != run
