"""Features before and under an attack: the mean cosine by hand, and a plane that is the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.feature_map import maps_of, plane
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.jobs.trials import trials_of
from mmcoa_cli.models.subjects import load_model
from mmcoa_cli.reports.feature_picture import draw_maps
from mmcoa_cli.settings import Home
from store.errors import UserError


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


def test_the_cosine_is_that_of_the_two_embeddings(home: Home, tmp_path: Path) -> None:
    spec = evaluation_spec("vit", ("digits",), ("image",), limit=30, steps=2, eps="8/255", alpha="4/255")
    (found,) = maps_of([spec], home)
    (trial,) = trials_of(spec, find_subject(spec, home), home)
    pixels = load_pixels(open_dataset("digits", home), "test", trial.indices)
    clip, attacked = load_model("vit", home), torch.from_numpy(trial.examples("image").images(0, 30, pixels))
    clean = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    f, g = (clip.image_features(images).detach().double() for images in (clean, attacked))
    expected = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(f, g, strict=True)]
    assert found.cosines == pytest.approx(expected, abs=1e-5)
    assert found.mean_cosine == pytest.approx(sum(expected) / 30, abs=1e-6) and found.mean_cosine < 0.999
    assert found.labels.tolist() == trial.labels.tolist() and found.clean.shape == found.adversarial.shape == (30, 2)
    for ending in ("png", "svg", "pdf"):
        draw_maps([found, found], tmp_path / f"map.{ending}")
        assert (tmp_path / f"map.{ending}").stat().st_size > 1000
    assert "mean cosine" in (tmp_path / "map.svg").read_text(encoding="utf8")


def test_an_attack_on_texts_moves_no_image(home: Home) -> None:
    with pytest.raises(UserError, match="the attack text makes no images of its own"):
        maps_of([evaluation_spec("vit", ("digits",), ("text",), mlm="mlm")], home)


def test_it_can_be_typed(home: Home, typed: Callable[..., Any], tmp_path: Path) -> None:
    words = ("--checkpoint", "vit", "--dataset", "digits", "--limit", "20", "--steps", "1", "--json")
    code, out, err = typed(home, "tsne", *words, "--output", str(tmp_path / "a.png")).end()
    assert code == 0, err
    document = json.loads(out)
    assert document["picture"] == str(tmp_path / "a.png") and len(document["maps"][0]["cosines"]) == 20
    refused = CliRunner().invoke(app, ["tsne", *words, "--output", str(tmp_path / "a.txt")])
    assert refused.exit_code == 1 and "a.txt is no picture" in str(refused.exception)
