"""`mmcoa show RUN`: the images that an attack turned, before and under it, and the prompts that it wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexes import RESULT, RUN
from PIL import Image
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.inventory import fetch
from mmcoa_cli.reports.pictures import pictures
from mmcoa_cli.settings import Home
from store.datasets import Dataset
from store.errors import UserError
from store.examples import ExampleSet
from store.index import Index

RIGHT, HELD, FOOLED = 0, 1, 2  # outcomes; of RIGHT: it was wrong before
CHANGE = np.float32(0.7 / 255)  # no image of 8 bits has it


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
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
        spec = {"attack": "image", "data": {"checksum": dataset.info.checksum}, "image": {"eps": "1/255"}}
    images = clean.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) + CHANGE
    add(index, home, spec, (clean, images), {})
    texts = {"prompts": ["a cat", "a dog"], "adversarial_prompts": ["a cat", "a wolf"]}
    add(index, home, {**spec, "attack": "text"}, None, texts)
    whole = {**spec, "attack": "multimodal", "text": {}}
    add(index, home, whole, None, texts)
    return home


def add(index: Index, home: Home, spec: dict[str, Any], images: Any, texts: dict[str, list[str]]) -> None:
    examples = ExampleSet(home.examples, spec, n=6, block_size=6)
    examples.missing()
    columns = {
        "index": np.arange(6), "label": np.array([0, 0, 0, 1, 1, 1]), "clean_prediction": np.array([0, 0, 0, 1, 1, 0]),
        "prediction": np.array([0, 1, 0, 1, 0, 0]), "outcome": np.array([HELD, FOOLED, HELD, HELD, FOOLED, RIGHT]),
    }  # fmt: skip
    examples.write_block(0, columns, images)
    examples.finish(texts=texts)
    result = replace(
        RESULT, evaluation=examples.key, run_id="mmcoa-pets-1", dataset="pets", attack=spec["attack"],
        examples=examples.key, setting={"split": "test", "pixel_size": 16},
    )  # fmt: skip
    index.save_results([result])


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
    assert all(one["largest_change"] == pytest.approx(float(CHANGE), rel=1e-3) for one in image["images"])
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
