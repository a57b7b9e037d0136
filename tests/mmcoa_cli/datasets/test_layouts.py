"""Which classes and splits the folders of one's own images become, or with which words they are refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.formats.layouts import recognised
from store.errors import UserError

Make = Callable[..., Any]


class Case(NamedTuple):
    """`paths` are split by white space, `~` in one is a space; one with `*4` at its end is 4 images, one that ends in
    `=text` is a file of that text."""

    paths: str
    classes: str = ""
    splits: dict[str, int] | None = None
    refused: str = ""
    left_out: str = ""  # as "reason: path path"


UNDERSTOOD = {
    "splits": Case("train/cat/*2 train/dog/* test/cat/* test/dog/*", "cat dog", {"train": 3, "test": 2}),
    "a folder above": Case("birds/train/a/* birds/train/b/* birds/test/a/*", "a b", {"train": 2, "test": 1}),
    "several above": Case("x/y/z/a/* x/y/z/b/*", "a b", {"test": 2}),
    "no splits": Case("cat/*2 dog/*", "cat dog", {"test": 3}),
    "folders within classes": Case("cat/2024/batch~1/* cat/2023/a/* dog/2024/batch~1/*", "cat dog", {"test": 3}),
    "folders within classes of a split": Case("test/cat/2024/b/* test/dog/2024/b/*", "cat dog", {"test": 2}),
    "folders beside images within a class": Case("cat/* cat/old/* dog/*", "cat dog", {"test": 3}),
    "class/images": Case("cat/images/*2 dog/images/*2", "cat dog", {"test": 4}),
    "superclasses of a split": Case("test/pet/cat/* test/pet/dog/* test/farm/cow/*", "farm pet", {"test": 3}),
    "a class called train": Case("bus/* car/* train/*", "bus car train", {"test": 3}),
    "a class called test": Case("test/* drive/*", "drive test", {"test": 2}),
    "a class called train in a split": Case("test/bus/* test/train/*", "bus train", {"test": 2}),
    "classes called train and test": Case("test/train/* test/test/* test/bus/*", "bus test train", {"test": 3}),
    "the dataset is called test": Case("test/train/a/* test/train/b/* test/test/a/*", "a b", {"train": 2, "test": 1}),
    "only val": Case("val/a/* val/b/*", "a b", {"test": 2}),
    "only train": Case("train/a/* train/b/*", "a b", {"train": 2}),
    "valid and test": Case("valid/a/* test/a/* test/b/*", "a b", {"val": 1, "test": 2}),
    "capital letters": Case("TRAIN/Cat/* Test/Cat/* Test/Dog/*", "Cat Dog", {"train": 1, "test": 2}),
    "a class of one split": Case("train/a/* train/b/* test/a/* test/c/*", "a b c", {"train": 2, "test": 2}),
    "numbers": Case("class10/* class2/* class1/*", "class1 class2 class10", {"test": 3}),
    "numbers alone": Case(" ".join(f"{n}/*" for n in range(12)), " ".join(map(str, range(12))), {"test": 12}),
    "zeros in front": Case("010/* 9/* 09/*", "09 9 010", {"test": 3}),
    "long numbers": Case(f"{'9' * 240}/* {'1' * 241}/*", f"{'9' * 240} {'1' * 241}", {"test": 2}),
    "letters of other scripts": Case("猫/* ё/* café/*", "café ё 猫", {"test": 3}),
    "accents apart": Case("train/cafe\u0301/* test/café/* test/tea/*", "café tea", {"train": 1, "test": 2}),
    "endings": Case("a/1.JPG a/2.jfif a/3.Avif b/4.jpe b/5.TIFF", "a b", {"test": 5}),
    "no endings": Case("a/1 a/2.001 b/3", "a b", {"test": 3}),
    "a logo": Case("logo.png cat/*9 dog/*9", "cat dog", {"test": 18}, left_out="beside the class folders: logo.png"),
    "a logo above": Case(
        "x/logo.png x/test/a/* x/test/b/*", "a b", {"test": 2}, left_out="beside the class folders: x/logo.png"
    ),
    "samples beside splits": Case(
        "train/a/* test/a/* test/b/* docs/fig.png", "a b", {"train": 1, "test": 2},
        left_out="outside the split folders: docs/fig.png",
    ),
    "other files": Case(
        "a/* b/* README.md=x a/notes.txt=x Thumbs.db=x .hidden.png", "a b", {"test": 2},
        left_out="no image: README.md Thumbs.db a/notes.txt; hidden: .hidden.png",
    ),
    "kinds that are not read": Case(
        "a/* b/* b/1.heic=x", "a b", {"test": 2}, left_out="an image of a kind that is not read: b/1.heic"
    ),
    "an archive that is none": Case(
        "a/* b/* x.zip=x", "a b", {"test": 2}, left_out="an archive beside the images: x.zip"
    ),
    "an empty class": Case("a/* b/* c/", "a b", {"test": 2}, left_out="an empty folder: c/"),
    "names that are the folders'": Case("a/* b/* classnames.txt=a\nb", "a b", {"test": 2}),
    "numbered names that are the folders'": Case("a/* b/* class_to_idx.json={\"a\":0,\"b\":1}", "a b", {"test": 2}),
    "a classes.json": Case("n1/* n2/* classes.json={\"n1\":\"x\",\"n2\":\"y\",\"n3\":\"z\"}", "x y", {"test": 2}),
    "names that end like a mask": Case("a/1_mask.png a/2_mask.png b/3.png", "a b", {"test": 3}),
    "annotations of single images": Case("a/1.png a/1.labels.xml=x b/1.png", "a b", {"test": 2}),
}  # fmt: skip

REFUSED = {
    "nothing": Case("README.md=x", refused="no images"),
    "no folders": Case("*9", refused="they lie in no folder (0.png)"),
    "one class": Case("cat/*", refused="all of them lie in cat/"),
    "one class of a split": Case("test/cat/* train/cat/*", refused="a single class, cat (test/cat/0.png)"),
    "one superclass": Case("test/animals/cat/* test/animals/dog/*", refused="a single class, animals"),
    "one folder of images in each split": Case("train/images/* test/images/*", refused="a single class, images"),
    "splits that hold images": Case("train/* test/*", refused="test/ (test/0.png), train/ (train/0.png)"),
    "a split that holds images": Case("train/*", refused="train/ holds images (train/0.png)"),
    "one of the splits holds images": Case(
        "train/a/* train/b/* test/*", refused="test/ holds images itself (test/0.png), unlike train/a/0.png"
    ),
    "images beside the classes of a split": Case(
        "train/a/* train/b/* test/*2 test/a/*", refused="test/ holds images itself (test/0.png)"
    ),
    "images beside the classes": Case("*4 a/* b/*", refused="4 images beside the class folders (its top)"),
    "different depths": Case("cat/* dog/puppies/*", refused="different depths: cat/0.png, and dog/puppies/0.png"),
    "different depths in splits": Case("train/a/* train/b/* test/a/x/*", refused="different depths: train/a/0.png"),
    "a split within a class": Case("bottle/train/* bottle/test/* pen/train/*", refused="test/ inside bottle/ (bottle"),
    "several datasets": Case("x/train/a/* x/test/a/* y/train/a/*", refused="inside x/"),
    "a split beside a class": Case("train/a/* bus/a/*", refused="train/ beside bus/: is it a split or a class?"),
    "two folders of one split": Case("val/a/* valid/a/* test/a/*", refused="val/ beside valid/: both are the same"),
    "splits by other names": Case("birds-train/*2 birds-test/*2", refused="birds-test/ (birds-test/0.png)"),
    "splits with a year": Case("train2017/a/* val2017/a/* ", refused="train2017/ (train2017/a/0.png)"),
    "images beside masks": Case("images/a/* images/b/* masks/a/*", refused="images/ beside masks/"),
    "images and masks in the classes": Case("a/images/* a/masks/* b/images/*", refused="images/ beside masks/"),
    "the same folders in each": Case("photo/cat/* photo/dog/* art/cat/* art/dog/*", refused="art, photo, or cat, dog"),
    "one name in prompts": Case("Hot_Dog/* hot-dog/* cat/*", refused="'hot dog': 'Hot_Dog' and 'hot-dog'"),
    "metadata of a flat folder": Case("train/* train/metadata.csv=x", refused="train/metadata.csv is not read"),
    "labels of a flat folder": Case("*3 labels.csv=x", refused="labels.csv is not read"),
    "labels beside the classes": Case("0/* 1/* labels.csv=a,b", refused="has labels.csv, which is not read"),
    "names of the classes": Case("0/* 1/* classes.txt=cat\ndog", refused="has classes.txt, which is not read"),
    "five hundred deep": Case("/".join(["x"] * 500) + "/1.png b/1.png", refused="lies 500 folders deep"),
    "masks beside images": Case("a/1.png a/1_mask.png b/2.png", refused="a/1_mask.png looks like a mask of"),
    "no class in both splits": Case("train/a/* train/b/* test/unknown/*", refused="test/unknown/0.png, and train/a/0"),
    "splits in camel case": Case("TrainSet/a/* TestSet/a/*", refused="TestSet/ (TestSet/a/0.png), TrainSet/"),
    "splits of domains": Case("trainA/* trainB/* testA/*", refused="testA/ (testA/0.png), trainA/"),
    "masks of the classes": Case("good/* bad/* ground_truth/*", refused="ground_truth/ beside bad/, good/"),
    "a logo among the classes of a split": Case("test/logo.png test/a/* test/b/*", refused="beside folders (test/a/0"),
    "kinds that are not read alone": Case("a/x.svg=x b/y.heic=x", refused="nor others; a/x.svg is not read"),
    "annotations": Case("train/a/* train/b/* train/_annotations.coco.json={}", refused="_annotations.coco.json"),
    "a classes.json that lacks one": Case("a/* b/* classes.json={\"a\":\"x\"}", refused="has no name for the folder b"),
}  # fmt: skip


KINDS = {".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", ".tiff": "TIFF"}


def lay(root: Path, paths: str, image: Make) -> Path:
    """The files of a case below `root`, each image another."""
    seed = 0
    for path in paths.split(" "):
        path, _, text = path.replace("~", " ").partition("=")
        folder, star, count = path.partition("*")
        if path.endswith("/"):
            (root / path).mkdir(parents=True)
        for name in [f"{folder}{n}.png" for n in range(int(count or 1))] if star else [path] * (path[-1:] not in "/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            kind = {".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", ".tiff": "TIFF"}.get(
                Path(name).suffix.lower(), "PNG"
            )
            (root / name).write_bytes(text.encode() if text else image(seed, kind=kind))
            seed += 1
    return root


def understood(place: Path, **row: Any) -> tuple[tuple[str, ...], dict[str, int], dict[str, tuple[str, ...]]]:
    """Classes, images a split, and what is left out of a folder or archive."""
    with recognised(DatasetRow("x", **row), place, scratch=place.parent) as found:
        splits: dict[str, int] = {}
        for sample in found.samples:
            splits[sample.split] = splits.get(sample.split, 0) + 1
            assert 0 <= sample.label < len(found.row.class_names)
        return found.row.class_names, splits, {reason: tuple(paths) for reason, paths in found.left_out.items()}


@pytest.mark.parametrize("case", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_understood(case: Case, image: Make, tmp_path: Path) -> None:
    classes, splits, left_out = understood(lay(tmp_path / "x", case.paths, image))
    assert (classes, splits) == (tuple(case.classes.split()), case.splits)
    if case.left_out:
        assert "; ".join(f"{reason}: {' '.join(paths)}" for reason, paths in left_out.items()) == case.left_out


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: Case, image: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        understood(lay(tmp_path / "x", case.paths, image))
    assert case.refused in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("name", ["a split within a class", "superclasses of a split", "no endings", "a logo above"])
def test_the_same_in_an_archive(name: str, image: Make, zip_of: Make, tmp_path: Path) -> None:
    case = {**UNDERSTOOD, **REFUSED}[name]
    folder = lay(tmp_path / "x", case.paths, image)
    packed = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "x.zip").write_bytes(zip_of(packed))
    if case.refused:
        with pytest.raises(UserError, match="inside bottle/"):
            understood(tmp_path / "x.zip")
    else:
        assert understood(tmp_path / "x.zip")[:2] == (tuple(case.classes.split()), case.splits)


def test_names_are_paired_in_the_order_of_the_folders(image: Make, tmp_path: Path) -> None:
    names = tuple("abcdefghijkl")
    folder = lay(tmp_path / "x", " ".join(f"{n}/*" for n in range(12)), image)
    with recognised(DatasetRow("x", class_names=names), folder, scratch=tmp_path) as found:
        assert (found.row.folders, found.row.class_names) == (tuple(map(str, range(12))), names)
        assert [sample.label for sample in found.samples] == list(range(12))


def test_names_that_are_given_settle_what_a_file_of_labels_may_say(image: Make, tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", "0/* 1/* labels.csv=a,b", image)
    classes, _, left_out = understood(folder, class_names=("cat", "dog"))
    assert classes == ("cat", "dog")
    assert left_out == {"a file of labels or names that is not read": ("labels.csv",)}


def test_names_in_another_order_than_the_folders_are_refused(image: Make, tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", "cat/* dog/*", image)
    with pytest.raises(UserError, match="the class 'cat' would be called 'Dog', which is another of its classes"):
        understood(folder, class_names=("Dog", "Cat"))
    assert understood(folder, class_names=("Cat", "Poodle"))[0] == ("Cat", "Poodle")


def test_a_link_back_multiplies_nothing(image: Make, tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", "train/cat/*3 train/dog/*3", image)
    (folder / "train" / "cat" / "again").symlink_to(folder)
    (folder / "train" / "cow").symlink_to(folder / "train" / "cat")
    (folder / "test").symlink_to("train")
    (folder / "train" / "dog" / "up").symlink_to(tmp_path)
    (folder / "train" / "dog" / "root").symlink_to("/")
    (folder / "train" / "dog" / "0-again.png").symlink_to("0.png")
    (folder / "circle").symlink_to("circle")
    (folder / "gone.png").symlink_to("nowhere")
    classes, splits, left_out = understood(folder)
    assert (classes, splits) == (("cat", "dog"), {"train": 6})
    assert left_out == {
        "a broken link": ("circle", "gone.png"),
        "a link to what is read already": (
            "test/", "train/cat/again/", "train/cow/", "train/dog/0-again.png", "train/dog/root/", "train/dog/up/",
        ),
    }  # fmt: skip


def test_links_to_elsewhere_are_followed(image: Make, tmp_path: Path) -> None:
    lay(tmp_path / "disk", "cat/*2 dog/*2 one.png", image)
    for link, target in (("train", "disk"), ("test/cat", "disk/cat"), ("test/dog/1.png", "disk/one.png")):
        (tmp_path / "x" / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / link).symlink_to(tmp_path / target)
    (tmp_path / "disk" / "one.png").rename(tmp_path / "one.png")
    (tmp_path / "x" / "test" / "dog" / "1.png").unlink()
    (tmp_path / "x" / "test" / "dog" / "1.png").symlink_to(tmp_path / "one.png")
    classes, splits, left_out = understood(tmp_path / "x")
    assert (classes, splits) == (("cat", "dog"), {"train": 4, "test": 1})
    assert left_out == {"a link to what is read already": ("test/cat/",)}


def test_what_is_no_file_is_not_opened(image: Make, tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", "a/* b/*", image)
    os.mkfifo(folder / "a" / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "b" / "zero.png").symlink_to("/dev/zero")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(understood(folder)), daemon=True)
    thread.start()
    thread.join(20)
    assert found == [(("a", "b"), {"test": 2}, {"no regular file": ("a/pipe.png", "b/zero.png", "pipe")})]
    with pytest.raises(UserError, match="neither a file nor a folder"):
        understood(folder / "pipe")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_an_archive_is_refused(image: Make, tmp_path: Path) -> None:
    import tarfile
    import zipfile

    lay(tmp_path / "x", "a/1.png b/1.png", image)
    with tarfile.open(tmp_path / "x.tar", "w") as tar, zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in ("a/1.png", "b/1.png", "./a/1.png"):
            tar.add(tmp_path / "x" / name, name)
            packed.write(tmp_path / "x" / name, name)
    for archive in ("x.tar", "x.zip"):
        with pytest.raises(UserError, match=f"{archive} holds a/1.png twice"):
            understood(tmp_path / archive)


def test_parts_in_several_archives_come_together(image: Make, zip_of: Make, laid: Make) -> None:
    """Also where they have the same names for other images: the class stays the class."""
    parts = {f"part{n}.zip": zip_of({f"{pet}/{k}.png": image(10 * n + k) for pet in ("cat", "dog") for k in (1, 2)})
             for n in range(3)}  # fmt: skip
    assert understood(laid("x", parts))[:2] == (("cat", "dog"), {"test": 12})


def test_an_archive_a_split_by_any_name(image: Make, zip_of: Make, laid: Make) -> None:
    pets = zip_of({"cat/1.png": image(1), "dog/1.png": image(2)})
    folder = laid("x", {"birds-train.zip": pets, "birds_test.zip": pets})
    assert understood(folder)[:2] == (("cat", "dog"), {"test": 2, "train": 2})


def test_a_catalog_dataset_in_two_copies_is_refused(image: Make, laid: Make, fetched: Make) -> None:
    files = {f"{copy}/test/banded/1.jpg": image(1, (9, 12), "JPEG") for copy in ("dtd", "dtd old")}
    with pytest.raises(UserError, match="test images of banded in dtd old/test/ and in dtd/test/") as caught:
        fetched("dtd", laid("x", files))
    assert "--from" in caught.value.hint
