"""`fetch --train-fraction`: class by class, by seed, as often as it is asked for."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli.app import app
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.sampling import Fraction, for_training
from mmcoa_cli.inventory import fetch
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.preflight import resolve
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.settings import Home
from store.errors import UserError

Make = Callable[..., Any]
COUNTS = {"cat": 10, "dog": 5, "owl": 2}


@pytest.fixture
def pets(image: Make, laid: Make) -> Path:
    files = {f"{pet}/{n}.png": image(n * 7 + len(pet)) for pet, count in COUNTS.items() for n in range(count)}
    folder: Path = laid("pets", files)
    return folder


def rows(name: str, home: Home) -> dict[str, list[tuple[int, bytes]]]:
    """The images of each split with their labels."""
    with open_dataset(name, home) as dataset:
        found = {}
        for split, n in dataset.info.splits.items():
            images = [
                image if isinstance(image, bytes) else image.tobytes() for image in dataset.images(split, range(n))
            ]
            found[split] = list(zip(dataset.labels(split).tolist(), images, strict=True))
        return found


def test_each_class_is_divided(home: Home, pets: Path) -> None:
    fetch("whole", home, source=pets)
    fetch("pets", home, source=pets, train_fraction=0.8)
    found, (whole,) = rows("pets", home), rows("whole", home).values()
    counts = {split: np.bincount([label for label, _ in of]).tolist() for split, of in found.items()}
    assert counts == {"train": [8, 4, 1], "test": [2, 1, 1]}
    assert sorted(found["train"] + found["test"]) == sorted(whole) and len(set(whole)) > 5
    with open_dataset("pets", home) as dataset:
        assert dataset.info.request["train_fraction"] == "0.8, by seed 0" and not dataset.info.parts


def test_another_seed_draws_other_images_and_the_same_the_same(home: Home, pets: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fetch(name, home, source=pets, train_fraction=0.5, seed=seed)
    assert rows("a", home) == rows("b", home) != rows("c", home)


def test_another_fraction_is_another_request(home: Home, pets: Path) -> None:
    assert fetch("pets", home, source=pets, train_fraction=0.8).new
    assert not fetch("pets", home, source=pets, train_fraction=0.8).new and not fetch("pets", home).new
    for asked in ({"train_fraction": 0.5}, {"train_fraction": 0.8, "seed": 1}, {}):
        with pytest.raises(UserError, match=r"for training it has 0\.8, by seed 0") as error:
            fetch("pets", home, source=pets, **asked)
        assert "--replace" in error.value.hint
    fetch("other", home, source=pets)
    with pytest.raises(UserError, match="its splits are those of its source"):
        fetch("other", home, source=pets, train_fraction=0.8)
    assert fetch("pets", home, source=pets, train_fraction=0.5, replace=True).new


def test_what_is_said_of_a_split_that_is_missing_divides_it_when_it_is_typed(
    home: Home, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCOA_HOME", str(home.root))
    (pets / "cat" / "broken.png").write_bytes(b"no image")
    fetch("pets", home, source=pets, template="a {}, a pet", skip_broken=True)
    job = Job(train_spec("tecoa", dataset="pets", model="vit", mlm="mlm"), evaluation_spec("", ("pets",)))
    with pytest.raises(UserError, match="pets has no training images") as error:
        resolve(job, home)
    prose, _, command = error.value.hint.partition(": mmcoa ")
    assert prose == "take folders called train and test, or divide what it has"
    app(shlex.split(command), standalone_mode=False)
    with open_dataset("pets", home) as dataset:
        assert dataset.info.splits["train"] and dataset.info.template == "a {}, a pet"


def test_what_cannot_be_divided(home: Home, pets: Path, image: Make, laid: Make) -> None:
    splits = laid("splits", {f"{split}/{pet}/1.png": image(1) for split in ("train", "test") for pet in ("cat", "dog")})
    single = laid("single", {"cat/1.png": image(1), "dog/1.png": image(2), "dog/2.png": image(3)})
    for source, why in ((splits, "has the splits train, test already"), (single, "the class cat has a single image")):
        with pytest.raises(UserError, match=why):
            fetch("x", home, source=source, train_fraction=0.8)
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="between 0 and 1"):
            fetch("x", home, source=pets, train_fraction=fraction)
    with pytest.raises(UserError, match="digits has its own splits"):
        fetch("digits", home, train_fraction=0.8)
    assert [path.name for path in home.datasets.glob("x.h5")] == [] and not list(home.datasets.glob(".x.scratch"))


def test_the_part_is_as_near_as_whole_numbers_are() -> None:
    labels = np.repeat(np.arange(3), (1000, 3, 2))
    chosen = for_training(labels, Fraction(1 / 3, seed=5), names=["a", "b", "c"])
    assert np.bincount(labels[chosen]).tolist() == [333, 1, 1]
    first = chosen[:1000].nonzero()[0]
    assert 400 < first.mean() < 600 and len(set(np.diff(first))) > 3  # drawn from all of them, and not every third
