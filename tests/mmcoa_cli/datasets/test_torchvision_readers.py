"""Datasets that torchvision reads, as miniatures in their true layout: what comes into the store is compared with what
torchvision's own class gives for the unpacked files."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets as published

from mmcoa_cli import catalog
from mmcoa_cli.datasets.prompts import clean_name
from store.datasets import Dataset
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
NAMES = {name: row.class_names for name, row in catalog.datasets().items()}
OUTDOOR = ("indoor", "outdoor")


def dtd(image: Make) -> Contents:
    """dtd-r1.0.1: `dtd/images/banded/banded_0001.jpg`, ten partitions of which the first is used."""
    files, lists = {}, {"train": "", "val": "", "test": ""}
    for number, name in enumerate(NAMES["dtd"]):
        for place, split in enumerate(lists):
            path = f"{name}/{name}_{place:04}.jpg"
            files[f"dtd/images/{path}"] = image(3 * number + place, (10, 12 + place), "JPEG")
            lists[split] += f"{path}\n"
    swapped = {"train2": lists["val"], "val2": lists["train"], "test2": lists["test"]}
    labels = {f"{split}1": lines for split, lines in lists.items()} | swapped
    return (
        files
        | {f"dtd/labels/{name}.txt": lines.encode() for name, lines in labels.items()}
        | {"dtd/labels/labels_joint_anno.txt": b"banded/banded_0000.jpg banded\n", "dtd/imdb/imdb.mat": b"no image"}
    )


def food101(image: Make) -> Contents:
    files, lists = {}, {split: {name.replace(" ", "_"): [] for name in NAMES["food101"]} for split in ("train", "test")}
    for number, name in enumerate(["apple_pie", "beef_tartare", "waffles"]):
        for place in range(4):
            path = f"{name}/{1000 * number + place}"
            files[f"food-101/images/{path}.jpg"] = image(10 * number + place, (11, 13), "JPEG")
            lists["train" if place < 3 else "test"][name].append(path)
    meta: dict[str, str] = {
        "classes.txt": "\n".join(lists["train"]), "labels.txt": "\n".join(NAMES["food101"]),
        **{f"{split}.json": json.dumps(of_class) for split, of_class in lists.items()},
        **{f"{split}.txt": "\n".join(path for paths in of_class.values() for path in paths)
           for split, of_class in lists.items()},
    }  # fmt: skip
    return files | {f"food-101/meta/{name}": text.encode() for name, text in meta.items()}


def pets(image: Make) -> Contents:
    """Images beside their lists: "Abyssinian_100 1 1 1" is image, class from 1, species and number in the species."""
    files, lists = {}, {"trainval": "", "test": ""}
    for number, name in enumerate(NAMES["oxfordpets"]):
        breed = name.replace(" ", "_")
        for place, split in enumerate(lists):
            for copy in range(2 if number < 3 else 1):
                stem = f"{breed}_{100 * place + copy}"
                files[f"images/{stem}.jpg"] = image(4 * number + 2 * place + copy, (9, 12), "JPEG")
                lists[split] += f"{stem} {number + 1} {1 + number % 2} {number // 2 + 1}\n"
    more = {
        "images/Abyssinian_100.mat": b"five images have such a file",
        "annotations/list.txt": b"#Image CLASS-ID SPECIES BREED ID\n" + lists["trainval"].encode(),
        "annotations/trimaps/Abyssinian_100.png": image(0),
        "annotations/trimaps/._Abyssinian_100.png": b"litter",
        "annotations/README": b"",
    }
    return files | more | {f"annotations/{split}.txt": lines.encode() for split, lines in lists.items()}


def aircraft(image: Make) -> Contents:
    files, lists = {}, {"train": "", "val": "", "test": ""}
    for number, variant in enumerate(["707-320", "A340-600", "Beechcraft 1900", "F-A-18", "Yak-42"]):
        assert clean_name(variant) in map(clean_name, NAMES["fgvcaircraft"])
        variant = {"F-A-18": "F/A-18"}.get(variant, variant)
        for place, split in enumerate(lists):
            stem = f"{10 * number + place:07}"
            files[f"fgvc-aircraft-2013b/data/images/{stem}.jpg"] = image(3 * number + place, (12, 15), "JPEG")
            lists[split] += f"{stem} {variant}\n"
    variants = [{"F-A-18": "F/A-18"}.get(name, name) for name in NAMES["fgvcaircraft"]]
    text = {f"images_variant_{split}.txt": lines for split, lines in lists.items()} | {
        "images_variant_trainval.txt": lists["train"] + lists["val"],
        "variants.txt": "".join(f"{name}\n" for name in variants),
        "images_box.txt": "0000000 1 1 9 9\n",
    }
    return files | {f"fgvc-aircraft-2013b/data/{name}": lines.encode() for name, lines in text.items()}


def sun_path(name: str) -> str:
    """ "apartment building outdoor" -> "/a/apartment_building/outdoor", as SUN lays out its classes."""
    words = name.split(" ")
    nested = len(words) > 1 and words[-1] in OUTDOOR
    path = "_".join(words[:-1]) + f"/{words[-1]}" if nested else "_".join(words)
    return f"/{path[0]}/{path}"


SUN_CLASSES = ("abbey", "apartment building outdoor", "church indoor", "youth hostel")


def sun397(image: Make) -> Contents:
    files: Contents = {}
    for number, name in enumerate(SUN_CLASSES):
        for place in range(5):
            path = f"SUN397{sun_path(name)}/sun_{chr(97 + number) * 3}{chr(97 + place) * 13}.jpg"
            files[path] = image(5 * number + place, (10, 14), "JPEG")
    names = "".join(f"{sun_path(name)}\n" for name in NAMES["sun397"])
    return files | {"SUN397/ClassName.txt": names.encode(), "SUN397/README.txt": b"SUN", "SUN397/s/notes.jpg": b"none"}


def sun_partitions(contents: Contents, *, names: bool) -> Contents:
    """Of the five images of each class two are in the first partition's training list and two in its test list."""
    images = sorted(path.removeprefix("SUN397") for path in contents if "/sun_" in path)
    train, test = (
        "".join(f"{path}\r\n" for number, path in enumerate(images) if number % 5 in places)
        for places in ((0, 1), (3, 4))
    )
    lists = {"Training_01.txt": train, "Testing_01.txt": test, "Training_02.txt": test, "Testing_02.txt": train}
    more = {"ClassName.txt": contents["SUN397/ClassName.txt"]} if names else {}
    return {name: lines.encode() for name, lines in lists.items()} | more


class Case(NamedTuple):
    """How a dataset is published: in which archives which of its files lie, and where torchvision has them unpacked."""

    name: str
    make: Callable[[Make], Contents]
    archives: dict[str, str]  # an archive, and how the paths of the files in it begin
    torchvision: str
    root: str  # the folder that torchvision unpacks the archives into
    splits: dict[str, str]  # torchvision's -> ours


CASES = [
    Case("dtd", dtd, {"dtd-r1.0.1.tar.gz": ""}, "DTD", "dtd", {"train": "train", "val": "val", "test": "test"}),
    Case("food101", food101, {"food-101.tar.gz": ""}, "Food101", "", {"train": "train", "test": "test"}),
    Case(
        "oxfordpets", pets, {"images.tar.gz": "images/", "annotations.tar.gz": "annotations/"}, "OxfordIIITPet",
        "oxford-iiit-pet", {"trainval": "train", "test": "test"},
    ),
    Case(
        "fgvcaircraft", aircraft, {"fgvc-aircraft-2013b.tar.gz": ""}, "FGVCAircraft", "",
        {"trainval": "train", "test": "test"},
    ),
]  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def packed(case: Case, contents: Contents, tar_of: Make) -> Contents:
    """The archives that a dataset is published as."""
    return {
        archive: tar_of({path: data for path, data in contents.items() if path.startswith(start)})
        for archive, start in case.archives.items()
    }


def decoded(data: bytes | Image.Image) -> bytes:
    opened = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else data
    pixels = np.asarray(opened.convert("RGB"))
    return repr(pixels.shape).encode() + pixels.tobytes()


def ours(dataset: Dataset, split: str) -> Counter[tuple[int, bytes]]:
    """Label and decoded pixels of each image in the store."""
    labels = dataset.labels(split).tolist()
    return Counter(zip(labels, map(decoded, dataset.images(split, range(len(labels)))), strict=True))


def theirs(dataset: Any) -> Counter[tuple[int, bytes]]:
    return Counter((label, decoded(image)) for image, label in (dataset[n] for n in range(len(dataset))))


@every_case
def test_as_torchvision_reads_the_unpacked_archives(
    case: Case, image: Make, tar_of: Make, laid: Make, fetched: Make, tmp_path: Path
) -> None:
    contents = case.make(image)
    archives = laid("archives", packed(case, contents, tar_of))
    laid(f"root/{case.root}".rstrip("/"), contents)
    dataset = fetched(case.name, archives)
    assert sorted(dataset.info.splits) == sorted(case.splits.values())
    for split, name in case.splits.items():
        expected = getattr(published, case.torchvision)(tmp_path / "root", split=split)
        assert len(expected) > 2
        assert ours(dataset, name) == theirs(expected)
        present = {label for label, _ in ours(dataset, name)}
        for label in present:
            assert clean_name(dataset.info.class_names[label]) == clean_name(expected.classes[label])


@every_case
def test_the_same_unpacked_elsewhere_and_downloaded(
    case: Case, image: Make, tar_of: Make, zip_of: Make, laid: Make, serve: Make, fetched: Make, tmp_path: Path
) -> None:
    contents = case.make(image)
    first = fetched(case.name, laid("some/where", contents))
    archives = packed(case, contents, tar_of)
    second = fetched(case.name, serve(archives), splits=first.info.splits)
    assert second.info.source.endswith(next(iter(archives)))
    (tmp_path / "own.zip").write_bytes(zip_of({f"my data/{path}": data for path, data in contents.items()}))
    third = fetched(case.name, tmp_path / "own.zip")
    (tmp_path / "link").symlink_to(tmp_path / "some", target_is_directory=True)
    fourth = fetched(case.name, tmp_path / "link")
    assert len({d.info.checksum for d in (first, second, third, fourth)}) == 1


@every_case
def test_images_stay_as_they_are_encoded(case: Case, image: Make, laid: Make, fetched: Make) -> None:
    contents = case.make(image)
    dataset = fetched(case.name, laid("x", contents))
    for split in dataset.info.splits:
        stored = dataset.images(split, range(dataset.info.splits[split]))
        assert set(stored) <= set(contents.values())
        assert f"of {dataset.info.expected[split]:,} {split} images" in dataset.info.part(split)


@every_case
def test_a_listed_image_that_is_not_there_makes_it_a_part(
    case: Case, image: Make, tar_of: Make, laid: Make, serve: Make, fetched: Make
) -> None:
    contents = case.make(image)
    whole = fetched(case.name, laid("whole", contents)).info.splits
    del contents[next(path for path in contents if path.endswith(".jpg"))]
    left = fetched(case.name, laid("part", contents), splits=whole).info
    assert sum(left.splits.values()) == sum(whole.values()) - 1
    (split,) = (split for split in whole if left.splits[split] != whole[split])
    assert left.part(split).startswith(f"{whole[split] - 1} of {whole[split]} {split} images")
    with pytest.raises(UserError, match="holds"):
        fetched(case.name, serve(packed(case, contents, tar_of)), splits=whole)


@every_case
def test_a_damaged_image(case: Case, image: Make, laid: Make, fetched: Make) -> None:
    contents = case.make(image)
    broken = next(path for path in contents if path.endswith(".jpg"))
    contents[broken] = contents[broken][:200]
    with pytest.raises(UserError, match=r"damaged|no image that can be read"):
        fetched(case.name, laid("x", contents))


LISTS = {
    "dtd": "dtd/labels/train1.txt",
    "food101": "food-101/meta/train.json",
    "oxfordpets": "annotations/trainval.txt",
    "fgvcaircraft": "fgvc-aircraft-2013b/data/images_variant_trainval.txt",
}


def misled(case: Case, listing: str, target: str) -> str:
    """A list of the dataset that has the image `target`, a path without ".jpg", among its own."""
    match case.name:
        case "dtd":
            return f"{listing}{target}.jpg\n"
        case "food101":
            return json.dumps({**json.loads(listing), "apple_pie": [target]})
        case "oxfordpets":
            kept = [line for line in listing.splitlines() if not line.startswith("Abyssinian")]
            return "\n".join([f"{target} 1 1 1", *kept])
        case _:
            return f"{listing}{target} 707-320\n"


@every_case
@pytest.mark.parametrize("as_archive", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_list_that_leads_outside_brings_nothing_into_the_store(
    case: Case, absolute: bool, as_archive: bool, image: Make, tar_of: Make, laid: Make, fetched: Make, tmp_path: Path
) -> None:
    (tmp_path / "secret.jpg").write_bytes(image(99, 9, "JPEG"))
    contents, path = case.make(image), LISTS[case.name]
    target = str(tmp_path / "secret") if absolute else f"{'../' * 12}{tmp_path}/secret".replace("//", "/")
    contents[path] = misled(case, contents[path].decode(), target).encode()
    place = laid("a/b/x", packed(case, contents, tar_of) if as_archive else contents)
    if case.name == "food101" and absolute:  # torchvision takes it for a path below its images
        train = fetched(case.name, place)
        assert image(99, 9, "JPEG") not in train.images("train", range(train.info.splits["train"]))
        return
    # torchvision itself takes nothing of DTD that lies deeper than in a class
    with pytest.raises(UserError, match="incomplete" if case.name == "dtd" else "unsafe path"):
        fetched(case.name, place)


@pytest.mark.parametrize("names", [True, False])
def test_sun397_by_its_first_partition(
    names: bool, image: Make, tar_of: Make, zip_of: Make, laid: Make, serve: Make, fetched: Make, tmp_path: Path
) -> None:
    contents = sun397(image)
    archives = {
        "SUN397.tar.gz": tar_of(contents),
        "Partitions.zip": zip_of(sun_partitions(contents, names=names)),
    }
    dataset = fetched("sun397", serve(archives), splits={"train": 8, "test": 8})
    laid("root", contents)
    every = theirs(published.SUN397(tmp_path / "root"))
    assert (ours(dataset, "train") | ours(dataset, "test")) <= every
    assert not ours(dataset, "train") & ours(dataset, "test")
    for split, places in (("train", "ab"), ("test", "de")):
        in_partition = {path: data for path, data in contents.items() if "/sun_" in path and path[-5] in places}
        assert set(dataset.images(split, range(8))) == set(in_partition.values())
    present = [dataset.info.class_names[label] for label in sorted(set(dataset.labels("test").tolist()))]
    assert present == list(SUN_CLASSES)
    assert dataset.info.part("test") == "4 of 397 classes"


@pytest.mark.parametrize("names", [True, False])
def test_sun397_unpacked(names: bool, image: Make, laid: Make, fetched: Make) -> None:
    contents = sun397(image)
    partitions = sun_partitions(contents, names=names)
    beside = {f"Partitions/{name}": data for name, data in partitions.items()}
    within = {f"SUN397/{name}": data for name, data in partitions.items()}
    dataset, other = fetched("sun397", laid("x", contents | beside)), fetched("sun397", laid("y", contents | within))
    assert dataset.info.splits == {"train": 8, "test": 8}
    assert dataset.info.checksum == other.info.checksum


def test_sun397_without_its_partitions_is_all_a_test_set_and_says_so(
    image: Make, tar_of: Make, fetched: Make, tmp_path: Path
) -> None:
    contents = sun397(image)
    (tmp_path / "SUN397.tar.gz").write_bytes(tar_of(contents))
    dataset = fetched("sun397", tmp_path / "SUN397.tar.gz")
    assert dataset.info.splits == {"test": 20}
    assert dataset.info.part("test") == "20 of 19,850 test images, 4 of 397 classes"
    more = fetched("sun397", tmp_path / "SUN397.tar.gz", splits={"train": 8, "test": 8})
    assert more.info.part("test").startswith("20 images where the official test split has 8")


def test_sun397s_classes_in_another_order_are_refused(image: Make, laid: Make, fetched: Make) -> None:
    contents = sun397(image)
    lines = contents["SUN397/ClassName.txt"].splitlines(keepends=True)
    swapped = laid("swapped", contents | {"SUN397/ClassName.txt": b"".join([lines[1], lines[0], *lines[2:]])})
    right = fetched("sun397", laid("right", contents))
    assert ours(fetched("sun397", swapped), "test") == ours(right, "test")  # the labels follow the names
    renamed = laid("renamed", contents | {"SUN397/ClassName.txt": b"".join([b"/a/abbeys\n", *lines[1:-1]])})
    with pytest.raises(UserError):
        fetched("sun397", renamed)


def test_a_class_that_is_none_of_the_row(image: Make, laid: Make, fetched: Make) -> None:
    contents = {path: data.replace(b"banded", b"weird") for path, data in dtd(image).items()}
    with pytest.raises(UserError, match="'weird' is no class of dtd"):
        fetched("dtd", laid("x", contents))
