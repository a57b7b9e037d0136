"""The same request again is nothing to do; another one under a name that is taken is an error that names why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.datasets.library import dataset_path, open_dataset
from mmcoa_cli.datasets.request import content_digest
from mmcoa_cli.inventory import fetch
from mmcoa_cli.settings import Home
from store.errors import UserError

Make = Callable[..., Any]


@pytest.fixture
def pets(image: Make, laid: Make) -> Path:
    folder: Path = laid("pets", {f"test/{pet}/1.png": image(number) for number, pet in enumerate(("cat", "dog"))})
    return folder


@pytest.fixture
def names(tmp_path: Path) -> Path:
    (tmp_path / "names.txt").write_text("feline\ncanine\n")
    return tmp_path / "names.txt"


@pytest.fixture
def here(home: Home, pets: Path) -> Home:
    assert fetch("pets", home, source=pets).new
    return home


def refused(home: Home, name: str, **asked: Any) -> str:
    before = dataset_path("pets", home).read_bytes()
    with pytest.raises(UserError) as caught:
        fetch(name, home, **asked)
    assert "--replace" in caught.value.hint
    assert dataset_path("pets", home).read_bytes() == before
    return str(caught.value)


def test_the_same_request_again(here: Home, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets.parent)
    (pets.parent / "link").symlink_to(pets)
    (pets / ".DS_Store").write_bytes(b"a file manager was here")
    for source in (None, pets, Path("pets"), Path("link"), pets / ".." / "pets"):
        assert not fetch("pets", here, source=source).new


def test_the_same_names_and_template_again(home: Home, pets: Path, names: Path) -> None:
    given: dict[str, Any] = {"class_names": names, "template": "a picture of a {}"}
    assert fetch("pets", home, source=pets, **given).new
    assert not fetch("pets", home, source=pets, **given).new
    assert not fetch("pets", home, **given).new
    assert not fetch("pets", home).new
    assert "its class names were given by --class-names; its template is 'a picture of a {}'" in refused(
        home, "pets", source=pets
    )


def test_another_source(here: Home, pets: Path, image: Make, laid: Make) -> None:
    other = laid("other", {f"test/{pet}/1.png": image(9) for pet in ("cat", "dog")})
    assert f"it was taken from {pets}, not from {other}" in refused(here, "pets", source=other)


def test_a_source_that_has_changed(here: Home, pets: Path, image: Make) -> None:
    (pets / "test" / "dog" / "2.png").write_bytes(image(3))
    assert f"{pets} has changed" in refused(here, "pets", source=pets)


def test_a_source_that_is_gone_is_still_what_was_asked_for(here: Home, pets: Path) -> None:
    pets.rename(pets.parent / "elsewhere")
    assert not fetch("pets", here, source=pets).new


@pytest.mark.parametrize("with_source", [True, False])
def test_other_names_and_another_template(here: Home, pets: Path, names: Path, with_source: bool) -> None:
    said = refused(here, "pets", source=pets if with_source else None, class_names=names, template="a {}")
    assert "its classes are called cat, dog, not feline, canine" in said
    assert "its template is 'This is a photo of a {}', not 'a {}'" in said


@pytest.mark.parametrize("with_source", [True, False])
def test_two_names_that_share_a_file(home: Home, pets: Path, with_source: bool) -> None:
    fetch("my pets", home, source=pets)
    with pytest.raises(UserError, match="'my-pets' and 'my pets' have the same place in the store") as caught:
        fetch("my-pets", home, source=pets if with_source else None)
    assert "--replace" in caught.value.hint


def test_a_catalog_dataset_from_elsewhere(home: Home, image: Make, laid: Make) -> None:
    first, second = (laid(f"from{n}", {"banded/1.jpg": image(n, 12, "JPEG")}) for n in range(2))
    fetch("dtd", home, source=first)
    assert not fetch("dtd", home, source=first).new
    assert not fetch("dtd", home).new
    with pytest.raises(UserError, match=r"it was taken from .*from0, not from .*from1"):
        fetch("dtd", home, source=second)


def test_replaced(here: Home, pets: Path, names: Path) -> None:
    assert fetch("pets", here, source=pets, class_names=names, replace=True).new
    with open_dataset("pets", here) as dataset:
        assert dataset.info.class_names == ("feline", "canine")
    assert not fetch("pets", here, source=pets, class_names=names).new


def test_replacing_ones_own_needs_a_source(here: Home) -> None:
    with pytest.raises(UserError, match="pets is a dataset of your own") as caught:
        fetch("pets", here, replace=True)
    assert "--from" in caught.value.hint


def test_what_is_here_stays_where_replacing_fails(here: Home, pets: Path, names: Path) -> None:
    before = dataset_path("pets", here).read_bytes()
    (pets / "test" / "dog" / "1.png").write_bytes(b"broken")
    for source in (pets, pets / "nowhere", None):
        with pytest.raises(UserError):
            fetch("pets", here, source=source, class_names=names, replace=True)
        assert dataset_path("pets", here).read_bytes() == before


def test_a_file_that_does_not_say_what_was_asked_for(
    here: Home, pets: Path, names: Path, as_first_written: Make
) -> None:
    as_first_written(dataset_path("pets", here))
    assert not fetch("pets", here, source=pets).new
    assert not fetch("pets", here).new
    assert "not feline, canine" in refused(here, "pets", source=pets, class_names=names)
    assert "it was taken from pets, not from names.txt" in refused(here, "pets", source=names)


def test_a_source_that_is_no_file(home: Home, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", Path("/dev/zero")):
        for name in ("pets", "tiny-mlm", "ViT-B-32"):
            with pytest.raises(UserError, match="neither a file nor a folder"):
                fetch(name, home, source=source)
        with pytest.raises(UserError, match="cannot read the class names"):
            fetch("pets", home, source=tmp_path, class_names=source)


def test_a_loop_of_links_has_a_digest(pets: Path) -> None:
    before = content_digest(pets)
    (pets / "test" / "loop").symlink_to(pets)
    assert content_digest(pets) == before
