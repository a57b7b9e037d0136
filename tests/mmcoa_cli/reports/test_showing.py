"""`mmcoa show RUN`: the images that an attack turned, before and under it, and the prompts that it wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.inventory import fetch
from mmcoa_cli.reports.pictures import pictures, source_of, words_of
from mmcoa_cli.settings import Home
from store.datasets import Dataset
from store.errors import UserError
from store.examples import ExampleSet
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


def test_probabilities_stand_beside_predictions(home: Home) -> None:
    (image,) = shown("--attack", "image")
    assert {(one["probability"], one["adversarial_probability"]) for one in image["images"]} == {(0.912, 0.777)}
    assert "image 1, cat: cat 91% -> dog 78%\n" in CliRunner().invoke(app, ["show", "mmcoa-pets"]).stdout
    # the sets of the multimodal attack are as an older version made them
    (older,) = shown("--attack", "multimodal")
    assert {(one["probability"], one["adversarial_probability"]) for one in older["images"]} == {(None, None)}


def key_of_set(home: Home, attack: str) -> str:
    ((_, result),) = Index(home.database_url).results(attacks=[attack])
    return result.examples


@pytest.mark.parametrize("attack", ["image", "multimodal"])
def test_an_example_set_is_shown_by_its_file_and_by_its_key(home: Home, attack: str) -> None:
    key = key_of_set(home, attack)
    path = home.examples / f"{key}.h5"
    by_file, by_key, by_beginning = (only(name) for name in (str(path), key, key[:6]))
    assert by_file == by_key == by_beginning and by_file["path"] == str(path.with_suffix(".png"))
    (of_run,) = shown("--attack", attack)
    for name in ("run", "dataset", "attack", "images", "prompts"):
        assert by_file[name] == of_run[name]


def test_an_example_set_without_an_index(home: Home, tmp_path: Path) -> None:
    """Its dataset is the one of the same checksum; a file elsewhere takes what it needs from the store."""
    key = key_of_set(home, "multimodal")
    path = tmp_path / f"{key}.h5"
    (home.examples / path.name).rename(path)
    (home.root / "index.db").unlink()
    found = only(str(path))
    assert (found["run"], found["dataset"], len(found["images"])) == (None, "pets", 6) and found["prompts"]


def only(name: str) -> dict[str, Any]:
    ended = CliRunner().invoke(app, ["show", name, "--json"])
    if ended.exception:
        raise ended.exception
    (found,) = json.loads(ended.stdout)["shown"]
    assert isinstance(found, dict)
    return found


def made(home: Home, spec: Any, **columns: Any) -> Path:
    """A file that is whole, whatever it says."""
    examples = ExampleSet(home.examples, spec, n=2, block_size=2)
    examples.missing()
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    usual = {name: np.zeros(2, int) for name in ("index", "label", "prediction", "clean_prediction", "outcome")}
    images = columns.pop("images", np.zeros((2, 3, 16, 16), np.float32))
    examples.write_block(0, {**usual, **columns}, (pixels, images))
    examples.finish(texts=columns.pop("texts", {}))
    return examples.path


DATA = {"checksum": "", "split": "test", "pixel_size": 16}
HOSTILE: list[tuple[Any, dict[str, Any], str]] = [
    ([1], {}, "does not say what it was made of"),
    ({}, {}, "does not say what it was made of"),
    ({"attack": "image", "data": 3}, {}, "does not say what it was made of"),
    ({"attack": ["image"], "data": DATA}, {}, "does not say what it was made of"),
    ({"attack": "rowhammer", "data": DATA}, {}, "is of an attack or a task that is not here"),
    ({"attack": "clean", "data": DATA}, {}, "holds no images and no prompts of an attack"),
    ({"attack": "image", "data": {**DATA, "split": "moon"}}, {}, "no split called 'moon'"),
    ({"attack": "image", "data": {**DATA, "pixel_size": "x"}}, {}, "does not say what it was made of"),
    ({"attack": "image", "data": DATA}, {"index": np.array([5, 99])}, "does not fit the dataset pets"),
    ({"attack": "image", "data": DATA}, {"prediction": np.array([2, 0])}, "does not fit the dataset pets"),
    ({"attack": "image", "data": DATA}, {"outcome": np.zeros((2, 2))}, "does not fit the dataset pets"),
    (
        {"attack": "image", "data": DATA},
        {"images": np.full((2, 3, 16, 16), 2, np.float32)},
        "does not fit the dataset",
    ),
]


@pytest.mark.parametrize(("spec", "columns", "line"), HOSTILE)
def test_a_file_that_lies_ends_in_one_line(home: Home, spec: Any, columns: dict[str, Any], line: str) -> None:
    with Dataset.open(home.datasets / "pets.h5") as pets:
        checksum = pets.info.checksum
    if isinstance(spec, dict) and isinstance(spec.get("data"), dict):
        spec = {**spec, "data": {**spec["data"], "checksum": checksum}}
    with pytest.raises(UserError, match=line) as caught:
        only(str(made(home, spec, **columns)))
    assert caught.value.hint and "\n" not in str(caught.value)


def test_a_file_that_is_none_ends_in_one_line(home: Home, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    for name, line in ((str(tmp_path / "x.h5"), "cannot be read"), ("nowhere.h5", "there is no file nowhere.h5")):
        with pytest.raises(UserError, match=line):
            only(name)
    whole = home.examples / f"{key_of_set(home, 'image')}.h5"
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    whole.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        only(str(whole))


def test_of_few_images_those_that_were_turned_come_first(home: Home) -> None:
    ((_, result),) = Index(home.database_url).results(attacks=["image"])
    one, other = pictures(source_of(result, home), home, most=2)
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


def test_what_only_looked_at_images_is_none_to_show(home: Home) -> None:
    """A set of features has no images of its own: those of the test before it are shown."""
    before, index = shown(), Index(home.database_url)
    ((_, result),) = index.results(attacks=["image"])
    with Dataset.open(home.datasets / "pets.h5") as pets:
        data = {"checksum": pets.info.checksum, "split": "test", "pixel_size": 16}
    features = ExampleSet(home.examples, {"attack": "image", "task": "features", "data": data}, n=6, block_size=6)
    features.missing()
    features.write_block(0, {"index": np.arange(6), "label": np.zeros(6, int), "cosine": np.ones(6)}, None)
    features.finish(texts={})
    told = {"task": "features", "metric": "mean_cosine", "created_at": "2027-01-01T00:00:00+00:00"}
    index.save_results([replace(result, evaluation="f" * 40, examples=features.key, **told)])
    assert shown() == before
    with pytest.raises(UserError, match="holds what the task features found, and no images"):
        only(features.key)


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
