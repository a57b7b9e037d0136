"""Results to report on: an index in `tmp_path` and a short way to put results into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.jobs.specs import train_spec
from store.index import Index
from store.keys import key_of
from store.schema import Evaluation, Run

PROMPTS = {"cifar10": 10, "cifar100": 100}
IMAGE, TEXT = ("image", "multimodal"), ("text", "multimodal")
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
        for attack, count in correct.items():
            row = _evaluation(run, attack, dataset=dataset, n=n, correct=count, seed=seed)
            measured = json.loads(row.spec) | ({"part": part} if part else {})
            measured["examples"]["data"]["pixel_size"] = pixel_size
            index.save_evaluation(_changed(row, {"spec": json.dumps(measured), **changes}))
        return run

    return add_results


def _run(method: str, model: str, source: str, shots: str, seed: int, training: dict[str, Any]) -> Run:
    trained = method != "clip"
    spec = train_spec(method, dataset=source, shots=shots, model=model, seed=seed, **training)
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
        spec=json.dumps(spec.document()),
        created_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T01:00:00+00:00",
    )


def _evaluation(run: Run, attack: str, *, dataset: str, n: int, correct: int, seed: int) -> Evaluation:
    text, image = attack in TEXT, attack in IMAGE
    prompts = [["This is a photo of a cat", "This is a photo of a cats"]] * PROMPTS.get(dataset, 10)
    return Evaluation(
        id="",
        run_id=run.id,
        dataset=dataset,
        split="test",
        attack=attack,
        metric="clean_accuracy" if attack == "clean" else "robust_accuracy",
        compat="none",
        value=correct / n,
        n=n,
        correct=correct,
        attack_success_rate=None if attack == "clean" else 0.5,
        collisions=0 if text else None,
        seed=seed,
        limit=None,
        partial=False,
        norm="linf" if image else None,
        eps="1/255" if image else None,
        alpha="1/255" if image else None,
        steps=100 if image else None,
        precision="fp32",
        no_collisions=False,
        stop_when_fooled=False,
        examples="e" * 40,
        mlm="bert-base-uncased" if text else None,
        mlm_origin="published" if text else None,
        weights=None,
        distinct_prompts=PROMPTS.get(dataset, 10) if text else None,
        prompts=json.dumps(prompts) if text else None,
        spec=json.dumps(
            {
                "examples": {
                    "data": {"checksum": "0123456789abcdef", "pixel_size": 32},
                    **({"text": {"max_words_changed": 1}} if text else {}),
                }
            }
        ),
        seconds=1.0,
        batch_size=128,
        device="cpu",
        created_at="2026-01-01T02:00:00+00:00",
    )


def _changed(row: Evaluation, changes: dict[str, Any]) -> Evaluation:
    """The evaluation with `changes` where its attack has such a setting, and the id that follows from the whole."""
    values = {name: value for name, value in changes.items() if getattr(row, name) is not None or name == "limit"}
    changed = {**asdict(row), **values}
    return Evaluation(**{**changed, "id": key_of(changed)})


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
