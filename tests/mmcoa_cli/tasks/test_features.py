"""Features before and under an attack: the mean cosine by hand, a plane that is the same each time, nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcoa_cli import catalog
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from mmcoa_cli.jobs.job import Start
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.load import load_model
from mmcoa_cli.plans.typed_jobs import evaluate
from mmcoa_cli.reports.content import Report, report_of
from mmcoa_cli.reports.drawing import draw
from mmcoa_cli.reports.reading import rows
from mmcoa_cli.reports.report import render
from mmcoa_cli.settings import Home
from mmcoa_cli.tasks.features import FEATURES, MOST, plane
from store.errors import UserError
from store.index import Index

ATTACK: dict[str, Any] = {"limit": 30, "steps": 2, "eps": "8/255", "alpha": "4/255"}


def spec_of(checkpoint: str = "vit", **options: Any) -> EvaluationSpec:
    return evaluation_spec(checkpoint, ("digits",), ("image",), **{**ATTACK, "task": "features", **options})


def test_groups_that_are_apart_stay_apart_and_a_seed_is_a_plane() -> None:
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(3, 64)
    features = np.concatenate([c + 0.1 * rng.standard_normal((20, 64)) for c in centres]).astype(np.float32)
    places = plane(features, seed=1)
    groups = places.reshape(3, 20, 2)
    spread = max(float(np.linalg.norm(g - g.mean(axis=0), axis=1).max()) for g in groups)
    apart = min(float(np.linalg.norm(groups[i].mean(0) - groups[j].mean(0))) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 2 * spread
    assert np.array_equal(places, plane(features, seed=1))
    assert plane(features[:5], seed=0).shape == (5, 2)


@pytest.mark.parametrize("n", [2, 7])
def test_features_that_are_all_the_same_are_one_point(n: int) -> None:
    """Of one image, clean twice; or of a model that says the same of each."""
    assert not plane(np.full((n, 4), 0.5, np.float32), seed=0).any()


@pytest.mark.parametrize(
    ("cosines", "ends"),
    [([0.5], (-1.0, 1.0)), ([0.5, 0.5], (0.5, 0.5)), ([0.25, 0.75], (0.5 - 0.48999, 0.5 + 0.48999))],
)
def test_one_image_says_nothing_of_others(cosines: list[float], ends: tuple[float, float]) -> None:
    (found,) = FEATURES.measure({"cosine": np.array(cosines, np.float32)}.__getitem__, {}, attacked=True)
    assert (found.value, found.n) == (0.5, len(cosines)) and (found.low, found.high) == pytest.approx(ends, abs=1e-4)


def test_the_cosine_is_that_of_the_two_embeddings(home: Home) -> None:
    spec = spec_of()
    (outcome,) = evaluate([spec], Start()).outcomes
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    assert trial.source is not None
    pixels = load_pixels(open_dataset("digits", home), "test", trial.indices)
    clip, attacked = load_model("vit", home), torch.from_numpy(trial.source.examples("image").images(0, 30, pixels))
    clean = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    f, g = (clip.image_features(images).detach().double() for images in (clean, attacked))
    expected = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(f, g, strict=True)]
    examples = trial.examples("image")
    assert examples.columns("cosine") == pytest.approx(expected, abs=1e-5)
    (result,) = Index(home.database_url).evaluation(outcome.evaluations[0])
    half = 1.959964 * float(np.std(expected, ddof=1)) / 30**0.5
    assert (result.metric, result.n) == ("mean_cosine", 30) and result.value < 0.999
    mean = sum(expected) / 30
    assert [result.low, result.value, result.high] == pytest.approx([mean - half, mean, min(1, mean + half)], abs=1e-6)
    assert examples.values("clean_place").shape == examples.values("adversarial_place").shape == (30, 2)
    assert examples.values("shown").tolist() == list(range(30)) and MOST > 30


def test_examples_of_the_attack_are_used_and_nothing_is_computed_twice(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([spec_of(task="classification")], Start())
    sets = {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")}
    evaluate([spec_of()], Start())
    made = {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")}
    assert sets.items() <= made.items() and len(made) == len(sets) + 2  # the features, clean and attacked
    (trial,) = trials_of(spec_of(), find_subject(spec_of(), home), home)
    assert not trial.examples("image")._content[0].keys() & {"delta"}
    evaluate([spec_of()], Start())
    assert {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")} == made


@pytest.mark.parametrize("attack", ["text", "multimodal"])
def test_an_attack_on_texts_moves_no_image(attack: str) -> None:
    with pytest.raises(UserError, match=f"the attack {attack} makes no images of its own"):
        evaluation_spec("vit", ("digits",), (attack,), task="features")


def report(home: Home) -> Report:
    table = catalog.tables()["fig9"]
    return report_of(rows(Index(home.database_url), table), table)


def test_figure_9_is_drawn_from_the_store_with_its_numbers(home: Home, tmp_path: Path) -> None:
    evaluate([spec_of(eps="1/255", alpha="1/255")], Start())
    found = report(home)
    (row,) = found.dicts()
    assert row["metric"] == "mean_cosine" and row["method"] == "clip"
    text = render(found)
    assert f"{row['value']:.4f}" in text and "mean cosine" in text and "percent" not in text
    for ending in ("png", "svg", "pdf"):
        draw(found, tmp_path / f"map.{ending}", home)
        assert (tmp_path / f"map.{ending}").stat().st_size > 1000
    assert "mean cosine" in (tmp_path / "map.svg").read_text(encoding="utf8")
    page = render(found, format="html", home=home)
    assert "<svg" in page and f"{row['value']:.4f}" in page and "--task features" not in page  # nothing makes it here


def test_a_plane_that_is_gone_leaves_its_number(home: Home, tmp_path: Path) -> None:
    evaluate([spec_of(eps="1/255", alpha="1/255")], Start())
    for path in home.examples.glob("*.h5"):
        path.unlink()
    found = report(home)
    draw(found, tmp_path / "map.svg", home)
    assert "not in this store" in (tmp_path / "map.svg").read_text(encoding="utf8")


def test_it_can_be_typed(home: Home, typed: Callable[..., Any], tmp_path: Path) -> None:
    words = ("--checkpoint", "vit", "--dataset", "digits", "--limit", "20", "--steps", "1", "--json")
    code, out, err = typed(home, "tsne", *words, "--output", str(tmp_path / "a.png")).end()
    assert code == 0, err
    document = json.loads(out)
    assert document["picture"] == str(tmp_path / "a.png") and len(document["maps"][0]["cosines"]) == 20
    code, _, err = typed(home, "tsne", *words, "--output", str(tmp_path / "a.txt")).end()
    assert code == 1 and "a.txt is no picture" in err
