"""The catalog's datasets against what their authors, and those of CLIP, publish."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.files import ARCHIVES
from mmcoa_cli.datasets.prompts import class_prompts, clean_name
from mmcoa_cli.datasets.samples import Labels

ROWS = list(catalog.datasets().values())
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


class Published(NamedTuple):
    """Classes and images as the datasets' own pages count them."""

    name: str
    classes: int
    splits: dict[str, int]
    pixel_size: int = 224


PUBLISHED = [
    Published("digits", 10, {"train": 1_297, "test": 500}, 8),
    Published("imagenet", 1_000, {"train": 1_281_167, "test": 50_000}),
    Published("cifar10", 10, {"train": 50_000, "test": 10_000}, 32),
    Published("cifar100", 100, {"train": 50_000, "test": 10_000}, 32),
    Published("tinyimagenet", 200, {"train": 100_000, "test": 10_000}, 64),
    Published("stl10", 10, {"train": 5_000, "test": 8_000}, 96),
    Published("sun397", 397, {"train": 19_850, "test": 19_850}),
    Published("food101", 101, {"train": 75_750, "test": 25_250}),
    Published("oxfordpets", 37, {"train": 3_680, "test": 3_669}),
    Published("flowers102", 102, {"train": 1_020, "val": 1_020, "test": 6_149}),
    Published("dtd", 47, {"train": 1_880, "val": 1_880, "test": 1_880}),
    Published("eurosat", 10, {"test": 27_000}),
    Published("fgvcaircraft", 100, {"train": 6_667, "test": 3_333}),
    Published("country211", 211, {"train": 31_650, "val": 10_550, "test": 21_100}),
    Published("caltech101", 101, {"test": 8_677}),
    Published("caltech256", 256, {"test": 29_780}),
    Published("mscoco", 0, {"test": 5_000}),
]
CLIP_NAMES = {
    "cifar10": "CIFAR10", "cifar100": "CIFAR100", "country211": "Country211", "dtd": "DescribableTextures",
    "fgvcaircraft": "FGVCAircraft", "flowers102": "Flowers102", "food101": "Food101", "stl10": "STL10",
    "sun397": "SUN397",
}  # fmt: skip


@pytest.fixture(scope="module")
def clip_authors(shared: Path) -> dict[str, Any]:
    """The class names that CLIP's authors publish, by the names they give the datasets."""
    document = json.loads((shared / "data" / "names" / "openai_clip_prompts.json").read_text())
    return {name: entry["classes"] for name, entry in document.items()}


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_classes_and_images_are_as_many_as_published(published: Published) -> None:
    row = catalog.datasets()[published.name]
    assert len(row.class_names) == published.classes
    assert row.splits == published.splits
    assert row.pixel_size == published.pixel_size
    assert (row.resize is None) == (published.pixel_size != 224)


def test_no_other_datasets_are_in_the_catalog() -> None:
    assert sorted(row.name for row in ROWS) == sorted(published.name for published in PUBLISHED)


def test_the_papers_datasets_are_in_the_catalog() -> None:
    """All but the averages that its tables have as columns."""
    named = {entry.dataset for entry in catalog.paper()}
    assert {name for name in named if "average" not in name.lower() and name not in catalog.datasets()} <= {""}


@every_row
def test_prompts_tell_the_classes_apart(row: DatasetRow) -> None:
    assert len(set(class_prompts(row.class_names, row.template))) == len(row.class_names)
    assert all(name == name.strip() and clean_name(name) for name in row.class_names)
    assert not any("  " in name for name in row.class_names)


@every_row
def test_folders_are_as_many_as_classes_and_no_class_is_left_out(row: DatasetRow) -> None:
    assert len(set(map(clean_name, row.folders))) == len(row.folders) in (0, len(row.class_names))
    left_out = set(map(clean_name, row.not_classes))
    assert not left_out & {clean_name(name) for name in (*row.class_names, *row.folders)}


@every_row
def test_a_folder_that_is_called_like_another_class_is_not_taken_for_it(row: DatasetRow) -> None:
    """A class's folder may have another class's name, as "crane" has; the name of a folder goes first."""
    labels = Labels(row)
    for label, folder in enumerate(row.folders or row.class_names):
        assert labels.find(folder) == label


@every_row
def test_licence_and_citation_are_said(row: DatasetRow) -> None:
    assert row.licence.strip()
    assert re.search(r"(19|20)\d\d|arXiv \d{4}\.\d{4,5}", row.citation)
    assert row.template.count("{}") == 1


@every_row
def test_what_is_downloaded_is_pinned(row: DatasetRow) -> None:
    assert row.embedded or row.sources
    for source in row.sources:
        assert bool(source.archives) != bool(source.repository)
        assert not source.revision or re.fullmatch("[0-9a-f]{40}", source.revision)
        assert set(source.splits.values()) <= set(row.splits)
        for archive in source.archives:
            url = urlsplit(archive.url)
            assert url.scheme in ("http", "https")
            assert re.fullmatch("[0-9a-f]{64}", archive.sha256) or re.fullmatch("[0-9a-f]{32}", archive.md5)
            assert url.path.endswith((*ARCHIVES, ".mat"))
        names = [PurePosixPath(urlsplit(archive.url).path).name for archive in source.archives]
        assert len(set(names)) == len(names)  # else one would overwrite the other
        sizes = [archive.bytes for archive in source.archives]
        if sizes and all(sizes):
            assert sum(sizes) == row.bytes


@pytest.mark.parametrize("name", CLIP_NAMES)
def test_names_and_order_are_those_of_the_clip_authors(clip_authors: dict[str, Any], name: str) -> None:
    assert list(catalog.datasets()[name].class_names) == clip_authors[CLIP_NAMES[name]]


@pytest.mark.parametrize(("name", "theirs"), [("oxfordpets", "OxfordPets"), ("eurosat", "EuroSAT")])
def test_the_same_names_in_the_order_of_the_datasets_labels(
    clip_authors: dict[str, Any], name: str, theirs: str
) -> None:
    row = catalog.datasets()[name]
    assert sorted(row.class_names) == sorted(clip_authors[theirs])
    in_order = row.folders or [name.lower() for name in row.class_names]
    assert list(in_order) == sorted(in_order)


def test_caltech101_is_without_its_background(clip_authors: dict[str, Any]) -> None:
    row = catalog.datasets()["caltech101"]
    assert list(map(clean_name, row.class_names)) == list(map(clean_name, clip_authors["Caltech101"][1:]))
    assert clip_authors["Caltech101"][0] in row.not_classes
    assert sorted(row.folders, key=str.lower)[:3] == ["accordion", "airplanes", "anchor"]


def test_caltech256_is_named_by_its_numbered_folders() -> None:
    row = catalog.datasets()["caltech256"]
    assert [int(folder[:3]) for folder in row.folders] == list(range(1, 257))
    for name, folder in zip(row.class_names, row.folders, strict=True):
        assert clean_name(name) == clean_name(folder[4:])


def test_imagenet_differs_from_the_published_names_in_two_that_would_be_twice_there(shared: Path) -> None:
    theirs = json.loads((shared / "data" / "names" / "en_classnames.json").read_text())["imagenet1k"]
    row = catalog.datasets()["imagenet"]
    other = {n: name for n, (name, their) in enumerate(zip(row.class_names, theirs, strict=True)) if name != their}
    assert other == {744: "projectile", 836: "sunglass"}
    assert [n for n, name in enumerate(theirs) if theirs.index(name) != n] == [744, 837]
    assert list(row.folders) == sorted(row.folders)
    assert all(re.fullmatch(r"n\d{8}", folder) for folder in row.folders)


def test_tinyimagenet_has_imagenets_names_for_the_same_classes(shared: Path) -> None:
    imagenet, tiny = catalog.datasets()["imagenet"], catalog.datasets()["tinyimagenet"]
    names = dict(zip(imagenet.folders, imagenet.class_names, strict=True))
    assert [names[folder] for folder in tiny.folders] == list(tiny.class_names)
    wnids = json.loads((shared / "data" / "names" / "tinyimagenet200_wnid_to_name.json").read_text())
    assert list(tiny.folders) == sorted(wnids)


def test_country211s_folders_are_country_codes_in_order() -> None:
    folders = catalog.datasets()["country211"].folders
    assert list(folders) == sorted(folders)
    assert all(re.fullmatch("[A-Z]{2}", code) for code in folders)
    assert {"DE", "JP", "XK"} <= set(folders)
