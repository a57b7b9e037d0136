"""The catalog's datasets that are folders of classes, as miniatures of their archives: against what torchvision's
classes give for the unpacked files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets as published

from mmcoa_cli import catalog
from store.datasets import Dataset
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
ROWS = catalog.datasets()


def eurosat(image: Make) -> Contents:
    return {
        f"2750/{folder}/{folder}_{place}.jpg": image(2 * number + place, 64, "JPEG")
        for number, folder in enumerate(ROWS["eurosat"].folders)
        for place in (1, 2)
    }


def country211(image: Make) -> Contents:
    return {
        f"country211/{split}/{folder}/{number}.jpg": image(3 * number + place, (6, 8), "JPEG")
        for number, folder in enumerate(ROWS["country211"].folders)
        for place, split in enumerate(("train", "valid", "test"))
    }


def caltech101(image: Make) -> Contents:
    """As it is unpacked; the zip holds `101_ObjectCategories.tar.gz` and `Annotations.tar`."""
    files: Contents = {}
    for number, folder in enumerate(["BACKGROUND_Google", *ROWS["caltech101"].folders]):
        files[f"101_ObjectCategories/{folder}/image_0001.jpg"] = image(number, (7, 9), "JPEG")
        theirs = {
            "Faces": "Faces_2", "Faces_easy": "Faces_3", "Motorbikes": "Motorbikes_16", "airplanes": "Airplanes_Side_2"
        }  # fmt: skip
        files[f"Annotations/{theirs.get(folder, folder)}/annotation_0001.mat"] = b"a contour"
    return files | {"101_ObjectCategories/BACKGROUND_Google/tmp": b"", "Annotations/._x": b"litter"}


def caltech256(image: Make) -> Contents:
    files = {
        f"256_ObjectCategories/{folder}/{number:03}_0001.jpg": image(number, (7, 9), "JPEG")
        for number, folder in enumerate([*ROWS["caltech256"].folders, "257.clutter"], 1)
    }
    litter = {"056.dog/greg/vision309/056_0001.jpg": image(0, 8, "JPEG"), "198.spider/RENAME2": b"#!/bin/sh"}
    return files | {f"256_ObjectCategories/{path}": data for path, data in litter.items()}


def caltech101_zip(contents: Contents, tar_of: Make, zip_of: Make) -> Contents:
    images = tar_of({path: data for path, data in contents.items() if path.startswith("101_")})
    notes = tar_of({path: data for path, data in contents.items() if path.startswith("Ann")}, "w")
    inside = {"101_ObjectCategories.tar.gz": images, "Annotations.tar": notes, "show_annotation.m": b"function"}
    packed = {f"caltech-101/{name}": data for name, data in inside.items()}
    return {"caltech-101.zip": zip_of(packed | {"__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"litter"})}


class Case(NamedTuple):
    """`root` is the folder that torchvision unpacks the archive into."""

    name: str
    make: Callable[[Make], Contents]
    pack: Callable[[Contents, Make, Make], Contents]
    root: str
    theirs: Callable[[Path], dict[str, Any]]  # our splits as torchvision reads them
    splits: dict[str, int]


CASES = [
    Case(
        "eurosat", eurosat, lambda contents, _, zip_of: {"EuroSAT.zip": zip_of(contents)}, "eurosat",
        lambda root: {"test": published.EuroSAT(root)}, {"test": 20},
    ),
    Case(
        "country211", country211, lambda contents, tar_of, _: {"country211.tgz": tar_of(contents)}, "",
        lambda root: {ours: published.Country211(root, split=split)
                      for ours, split in (("train", "train"), ("val", "valid"), ("test", "test"))},
        {"train": 211, "val": 211, "test": 211},
    ),
    Case(
        "caltech101", caltech101, caltech101_zip, "caltech101",
        lambda root: {"test": published.Caltech101(root)}, {"test": 101},
    ),
    Case(
        "caltech256", caltech256, lambda contents, tar_of, _: {"256_ObjectCategories.tar": tar_of(contents, "w")},
        "caltech256", lambda root: {"test": published.Caltech256(root)}, {"test": 256},
    ),
]  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def pixels(data: bytes | Image.Image) -> bytes:
    opened = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else data
    return np.asarray(opened.convert("RGB")).tobytes()


def ours(dataset: Dataset, split: str) -> Counter[tuple[int, bytes]]:
    labels = dataset.labels(split).tolist()
    return Counter(zip(labels, map(pixels, dataset.images(split, range(len(labels)))), strict=True))


def theirs(dataset: Any, *, classes: int) -> Counter[tuple[int, bytes]]:
    found = (dataset[n] for n in range(len(dataset)))
    return Counter((label, pixels(image)) for image, label in found if label < classes)


@every_case
def test_as_torchvision_reads_the_unpacked_archive(
    case: Case, image: Make, tar_of: Make, zip_of: Make, laid: Make, fetched: Make, tmp_path: Path
) -> None:
    contents = case.make(image)
    ((name, data),) = case.pack(contents, tar_of, zip_of).items()
    laid(f"root/{case.root}".rstrip("/"), contents)
    (tmp_path / name).write_bytes(data)
    dataset = fetched(case.name, tmp_path / name)
    assert dataset.info.splits == case.splits
    for split, expected in case.theirs(tmp_path / "root").items():
        assert ours(dataset, split) == theirs(expected, classes=len(dataset.info.class_names))


@every_case
def test_the_same_from_a_folder_a_folder_of_archives_and_a_server(
    case: Case, image: Make, tar_of: Make, zip_of: Make, laid: Make, serve: Make, fetched: Make
) -> None:
    contents = case.make(image)
    archives = case.pack(contents, tar_of, zip_of)
    inner = next(path.split("/")[0] for path in contents if path.endswith(".jpg"))
    unpacked = laid("x", contents)
    found = [
        fetched(case.name, unpacked),
        fetched(case.name, unpacked / inner),
        fetched(case.name, laid("archives", archives)),
        fetched(case.name, serve(archives), splits=case.splits),
    ]
    assert len({dataset.info.checksum for dataset in found}) == 1
    assert found[-1].info.part("test") == ""
    assert found[0].info.part("test").startswith(f"{case.splits['test']} of {ROWS[case.name].splits['test']:,} test")


def test_eurosat_as_other_archives_lay_it_out(image: Make, laid: Make, fetched: Make) -> None:
    contents = eurosat(image)
    other = {path.replace("2750/", "EuroSAT/"): data for path, data in contents.items()}
    first, second = fetched("eurosat", laid("x", contents)), fetched("eurosat", laid("y", other))
    assert first.info.checksum == second.info.checksum


def test_what_is_no_class_does_not_come_in(image: Make, laid: Make, fetched: Make) -> None:
    for name, make, folder in (
        ("caltech101", caltech101, "101_ObjectCategories/BACKGROUND_Google"),
        ("caltech256", caltech256, "256_ObjectCategories/257.clutter"),
    ):
        contents = make(image)
        only = {path: data for path, data in contents.items() if path.startswith(folder)}
        with pytest.raises(UserError, match="no images in folders of classes"):
            fetched(name, laid(name, only))


@every_case
def test_an_unknown_class_is_refused_by_its_name(case: Case, image: Make, laid: Make, fetched: Make) -> None:
    contents = case.make(image)
    first = next(path for path in contents if path.endswith(".jpg"))
    folder = first.split("/")[-2]
    contents[first.replace(folder, "unheard-of").replace("BACKGROUND_Google", "unheard-of")] = contents[first]
    with pytest.raises(UserError, match=f"'unheard-of' is no class of {case.name}"):
        fetched(case.name, laid("x", contents))


def test_real_images_of_caltech101(shared: Path, fetched: Make) -> None:
    """Ten images of each class, in `test/<class>/`: a part, of all its classes."""
    dataset = fetched("caltech101", shared / "data" / "caltech101.zip")
    assert np.bincount(dataset.labels("test")).tolist() == [10] * 101
    assert dataset.info.part("test") == "1,010 of 8,677 test images"


def test_real_images_of_some_classes_of_dtd(shared: Path, fetched: Make) -> None:
    dataset = fetched("dtd", shared / "data" / "dtd10.zip")
    assert len(dataset.info.class_names) == 47
    assert dataset.info.part("test") == "400 of 1,880 test images, 10 of 47 classes"
