"""Results to report on: an index in `tmp_path` and a short way to put results into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexes import RESULT, RUN
from PIL import Image

from mmcoa_cli.inventory import fetch
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.current_digests import data_key
from mmcoa_cli.settings import Home
from mmcoa_cli.tasks.intervals import wilson
from store.datasets import Dataset
from store.examples import ExampleSet
from store.index import Index
from store.keys import key_of
from store.schema import Result, Run

ONLY_PAIRS = ("contrast", "image_weight", "text_weight")
PROMPTS = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
IMAGE, TEXT = ("image", "multimodal"), ("text", "multimodal", "co-attack")
PGD = {
    "version": 1, "seed": 0, "norm": "linf", "eps": "1/255", "alpha": "1/255", "steps": 100, "random_start": True,
    "stop_when_fooled": False,
}  # fmt: skip
BERT = {
    "version": 2, "mlm": "", "mlm_name": "bert-base-uncased", "mlm_origin": "published", "max_candidates": 10,
    "min_score": 0.3, "max_words_changed": 1, "no_collisions": False,
}  # fmt: skip
AUTO = {
    "version": 1, "seed": 0, "norm": "linf", "eps": "1/255", "steps": 100, "targets": 9, "queries": 5000,
    "members": "apgd-ce,apgd-t",
}  # fmt: skip
SETTING = {
    "split": "test", "limit": None, "partial": False, "part": "", "pixel_size": 32, "precision": "fp32",
    "compat": "none", "batch_size": 128, "digests": 1, "data": data_key("0123456789abcdef", []),
    "torch": "",
}  # fmt: skip
WRONG, HELD, FOOLED = 0, 1, 2  # outcomes
CHANGE = np.float32(0.7 / 255)  # no image of 8 bits has it
Add = Callable[..., Run]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(f"sqlite:///{tmp_path / 'index.db'}")


@pytest.fixture
def add(index: Index) -> Add:
    """Put a run and its evaluations into the index: `correct` are the right answers out of `n`, by attack."""
    return _adder(index)


@pytest.fixture(scope="session")
def add_to() -> Callable[[Index], Add]:
    """The same for an index of one's own."""
    return _adder


def _adder(index: Index) -> Add:

    def add_results(
        method: str,
        correct: dict[str, int],
        *,
        model: str = "ViT-B-32",
        origin: str = "published",
        sha256: str = "",
        dataset: str = "cifar10",
        source: str | None = None,
        shots: str = "full",
        n: int = 10_000,
        seed: int = 0,
        run_seed: int | None = None,
        training: dict[str, Any] | None = None,
        part: str = "",
        train_part: str = "",
        pixel_size: int = 32,
        status: str = "complete",
        **changes: Any,
    ) -> Run:
        run = _run(method, model, source or dataset, shots, seed if run_seed is None else run_seed, training or {})
        about = {"model_sha256": sha256, **({"part": train_part} if train_part else {})}
        spec = json.dumps({**json.loads(run.spec), **about})
        run = Run(**{**asdict(run), "model_origin": origin, "spec": spec, "status": status})
        index.save_run(run)
        changes |= {"part": part, "pixel_size": pixel_size}
        if "mlm" in changes:
            changes["mlm_name"] = changes.pop("mlm")
        of_each = (
            _results(run, attack, count, n, dataset=dataset, seed=seed, changes=changes)
            for attack, count in correct.items()
        )
        index.save_results([result for results in of_each for result in results])
        return run

    return add_results


def _run(method: str, model: str, source: str, shots: str, seed: int, training: dict[str, Any]) -> Run:
    trained = method != "clip"
    used = {name: value for name, value in training.items() if name not in ONLY_PAIRS or method == "mmcoa"}
    spec = train_spec(method, dataset=source, shots=shots, model=model, seed=seed, **used)
    return Run(
        id=f"{method}-{key_of(spec)[:8]}" if trained else f"clip-{model}",
        kind="train" if trained else "zero-shot",
        method=method,
        model=model,
        model_origin="published",
        weights=None,
        source=source if trained else "",
        shots=shots if trained else "0",
        seed=seed if trained else 0,
        compat=training.get("compat", "none"),
        status="complete",
        spec=json.dumps({**spec.document(), **training}),  # older indexes hold what was not used, too
        created_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T01:00:00+00:00",
    )


def _results(
    run: Run, attack: str, correct: int, n: int, *, dataset: str, seed: int, changes: dict[str, Any]
) -> list[Result]:
    """The results of one evaluation, with `changes` of what its attack has and of what it was measured on."""
    classes = PROMPTS.get(dataset, 10)
    threat = {
        **({"image": _changed(PGD, changes)} if attack in IMAGE else {}),
        **({"text": _changed(BERT, changes)} if attack in TEXT else {}),
        **({attack: _changed({**PGD, "text_weight": 3.0}, changes)} if attack == "co-attack" else {}),
        **({attack: _changed(AUTO, changes)} if attack == "autoattack" else {}),
    }
    main = Result(
        evaluation="",
        metric="robust_accuracy" if threat else "clean_accuracy",
        run_id=run.id,
        dataset=dataset,
        task="classification",
        attack=attack,
        value=correct / n,
        low=wilson(correct, n)[0],
        high=wilson(correct, n)[1],
        n=n,
        threat=threat,
        setting=_changed(SETTING, changes),
        examples=changes.get("examples", "e" * 40),
        weights=None,
        seed=seed,
        seconds=1.0,
        device="cpu",
        version="",
        created_at=changes.get("created_at", "2026-01-01T02:00:00+00:00"),
    )
    counted = {"collisions": changes.get("collisions", 0), "distinct_prompts": changes.get("distinct_prompts", classes)}
    details = {"attack_success_rate": (0.5, n)} if threat else {}
    details |= {name: (number / classes, classes) for name, number in counted.items()} if "text" in threat else {}
    others = [replace(main, metric=name, value=v, low=None, high=None, n=of) for name, (v, of) in details.items()]
    return [replace(one, evaluation=key_of([asdict(main), counted])) for one in (main, *others)]


def _changed(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**section, **{name: value for name, value in changes.items() if name in section}}


@pytest.fixture
def everything(add: Add) -> None:
    """Two datasets, four methods, a stand-in and the real model, both variants, a partial dataset, subsets, seeds."""
    stand_in: dict[str, Any] = {
        "model": "clip-vit-cifar10", "origin": "stand-in", "mlm": "bert-tiny-captions-mlm", "mlm_origin": "stand-in",
        "n": 1000, "limit": 1000,
    }  # fmt: skip
    few = {"shots": "50", "training": {"lr": 1e-4, "epochs": 3}}
    add("clip", _of(1000, (319, 402, 221, 546)), **stand_in, collisions=2)
    add("ft-standard", _of(1000, (361, 480, 255, 611)), **stand_in, **few, collisions=1)
    add("tecoa", _of(1000, (421, 461, 301, 560)), **stand_in, **few)
    add("mmcoa", _of(1000, (430, 540, 377, 581)), **stand_in, **few, collisions=1)
    add("clip", _of(10_000, (932, 7974, 1165, 8856)), collisions=1)
    add("clip", _of(10_000, (932, 7421, 1042, 8856)), compat="release")
    add("tecoa", _of(10_000, (8506, 9204, 7953, 9588)))
    add("mmcoa", _of(10_000, (8455, 9616, 8452, 9617)))
    add("mmcoa", _of(10_000, (8411, 9580, 8420, 9590)), seed=1)
    add("mmcoa", _of(10_000, (8301, 9501, 8302, 9517)), training={"compat": "release"}, compat="release")
    add("clip", _of(10_000, (459, 3724, 242, 6228)), dataset="cifar100", collisions=12)
    add("mmcoa", _of(10_000, (3950, 5538, 3113, 6401)), dataset="cifar100", shots="5", collisions=7)
    add("clip", _of(400, (99, 250, 83, 301)), dataset="caltech101", n=400, partial=True)


def _of(_n: int, correct: Sequence[int]) -> dict[str, int]:
    return dict(zip(("image", "text", "multimodal", "clean"), correct, strict=True))


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A store with six images of two classes, and a run whose image and text attacks on them are there."""
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    home = Home(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'index.db'}")
    for number in range(6):
        path = tmp_path / "pets" / "test" / ("cat" if number < 3 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (40 * number, 100, 100)).save(path)
    fetch("pets", home, source=tmp_path / "pets")
    index = Index(home.database_url)
    index.save_run(replace(RUN, id="mmcoa-pets-1", source="pets", status="complete"))
    with Dataset.open(home.datasets / "pets.h5") as dataset:
        clean = np.stack(dataset.images("test", range(6)))
        data = {"checksum": dataset.info.checksum, "split": "test", "pixel_size": 16}
        spec = {"attack": "image", "data": data, "image": {"eps": "1/255"}}
    images = clean.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) + CHANGE
    _add_examples(index, home, spec, (clean, images), {})
    texts = {"prompts": ["a cat", "a dog"], "adversarial_prompts": ["a cat", "a wolf"]}
    _add_examples(index, home, {**spec, "attack": "text"}, None, texts)
    whole = {**spec, "attack": "multimodal", "text": {}}
    _add_examples(index, home, whole, None, texts)
    return home


def _add_examples(index: Index, home: Home, spec: dict[str, Any], images: Any, texts: dict[str, list[str]]) -> None:
    examples = ExampleSet(home.examples, spec, n=6, block_size=6)
    examples.missing()
    columns = {
        "index": np.arange(6), "label": np.array([0, 0, 0, 1, 1, 1]), "clean_prediction": np.array([0, 0, 0, 1, 1, 0]),
        "prediction": np.array([0, 1, 0, 1, 0, 0]), "outcome": np.array([HELD, FOOLED, HELD, HELD, FOOLED, WRONG]),
    }  # fmt: skip
    if images:  # what a set has that this version made
        columns |= {"clean_prediction_probability": np.full(6, 0.912), "prediction_probability": np.full(6, 0.777)}
    examples.write_block(0, columns, images)
    examples.finish(texts=texts)
    result = replace(
        RESULT, evaluation=examples.key, run_id="mmcoa-pets-1", dataset="pets", attack=spec["attack"],
        examples=examples.key, setting={"split": "test", "pixel_size": 16},
    )  # fmt: skip
    index.save_results([result])
