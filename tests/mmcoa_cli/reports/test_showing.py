"""`mmcoa show RUN`: the images that an attack turned, before and under it, and the prompts that it wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.inventory import fetch
from mmcoa_cli.reports.pictures import pictures, words_of
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

CHANGE = 0.7 / 255


@pytest.fixture
def home(attacked: Home) -> Home:
    return attacked


def shown(*words: str) -> list[dict[str, Any]]:
    ended = CliRunner().invoke(app, ["show", "mmcoa-pets", *words, "--json"])
    if ended.exception:
        raise ended.exception
    found: list[dict[str, Any]] = json.loads(ended.stdout)["shown"]
    return found


def test_those_that_were_turned_are_shown(home: Home) -> None:
    image, text = shown()
    assert (image["attack"], text["attack"]) == ("image", "text")
    told = [(one["index"], one["label"], one["prediction"], one["adversarial_prediction"]) for one in image["images"]]
    assert told[:2] == [(0, "cat", "cat", "cat"), (1, "cat", "cat", "dog")] and len(told) == 6
    assert all(one["largest_change"] == pytest.approx(CHANGE, rel=1e-3) for one in image["images"])
    assert text["prompts"] == [
        {"class": "cat", "clean": "a cat", "adversarial": "a cat"},
        {"class": "dog", "clean": "a dog", "adversarial": "a wolf"},
    ]
    assert text["images"] == [] and image["prompts"] == []


def test_of_few_images_those_that_were_turned_come_first(home: Home) -> None:
    ((_, result),) = Index(home.database_url).results(attacks=["image"])
    one, other = pictures(result, home, most=2)
    assert (one.index, one.label, one.said) == (1, "cat", ("cat", "dog"))
    assert (other.index, other.label, other.said) == (4, "dog", ("dog", "cat"))
    assert one.clean[0, 0].tolist() == [40, 100, 100] and one.shown[0, 0].tolist() == [41, 101, 101]
    assert set(one.perturbation.flatten().tolist()) == {255}  # all of the largest change


@pytest.mark.parametrize(
    ("clean", "adversarial", "new"),
    [
        ("a photo of a cat", "a photo of a dog", ["dog"]),
        ("a photo of a cat", "a scan of a cat", ["scan"]),
        ("a cat", "a big cat", ["big"]),
        ("a a a", "a a a", []),
        ("<b>x</b> y", "<b>z</b> y", ["<b>z</b>"]),
    ],
)
def test_the_new_words_of_a_prompt(clean: str, adversarial: str, new: list[str]) -> None:
    words = words_of(clean, adversarial)
    assert [word for word, is_new in words if is_new] == new
    assert " ".join(word for word, _ in words) == adversarial


def test_what_only_shows_others_is_drawn_where_it_is_asked_for(home: Home, tmp_path: Path) -> None:
    (one,) = shown("--attack", "multimodal", "--output", str(tmp_path / "sheet.png"))
    assert one["prompts"] and one["images"]
    assert one["path"] == str(tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").height > Image.open(tmp_path / "sheet.png").width


def test_a_dataset_that_was_replaced_is_not_drawn_upon(home: Home, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (0, 0, 0)).save(tmp_path / "pets" / "test" / "cat" / "0.png")
    fetch("pets", home, source=tmp_path / "pets", replace=True)
    with pytest.raises(UserError, match="the dataset pets was replaced since these examples were made"):
        shown()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--dataset", "digits"], "run mmcoa-pets-1 has no examples on digits to show"),
        (["--attack", "clean"], "run mmcoa-pets-1 has no clean examples to show"),
    ],
)
def test_what_cannot_be_shown(home: Home, words: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        shown(*words)
    assert caught.value.hint.startswith("mmcoa attack image --checkpoint mmcoa-pets-1 --dataset ")


def test_examples_that_were_altered_are_refused(home: Home) -> None:
    index = Index(home.database_url)
    ((_, result),) = index.results(attacks=["image"])
    (home.examples / f"{result.examples}.h5").rename(home.examples / "another.h5")
    index.save_results([replace(result, examples="another")])
    with pytest.raises(UserError, match="it is not the set that its name says"):
        shown("--attack", "image")
