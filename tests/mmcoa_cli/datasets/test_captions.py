"""Datasets of one's own with captions: Karpathy's JSON, metadata files, parquet and webdataset; and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.fetching import fetch_dataset
from mmcoa_cli.datasets.request import FetchRequest
from mmcoa_cli.datasets.summary import summary_of
from mmcoa_cli.settings import Home
from store.errors import UserError

Make = Callable[..., Any]
OWN = DatasetRow("mine", oriented=True)
CAPTIONS = [["a dog", "two dogs, naïve"], ["a cat"], ["a bird", "a bird", "猫 in a tree"]]


def photos(image: Make, names: list[str]) -> dict[str, bytes]:
    return {name: image(number, (20, 24 + number), "JPEG") for number, name in enumerate(names)}


def karpathy(*entries: tuple[str, str, list[Any]]) -> bytes:
    images = [
        {"filepath": "all", "filename": name, "split": split, "sentences": [{"raw": line} for line in lines]}
        for name, split, lines in entries
    ]
    return json.dumps({"images": images, "dataset": "mine"}).encode()


def parquet(columns: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_karpathy_with_its_splits(image: Make, laid: Make, fetched: Make) -> None:
    files = photos(image, ["all/c.jpg", "all/a.jpg", "all/b.jpg", "all/none.jpg"])
    listing = karpathy(
        ("b.jpg", "test", CAPTIONS[0]), ("a.jpg", "restval", CAPTIONS[1]), ("c.jpg", "test", [" lines\nand ends\n"]),
        ("gone.jpg", "train", ["not there"]),
    )  # fmt: skip
    dataset = fetched(OWN, laid("x", {**files, "dataset_mine.json": listing}))
    assert dataset.info.splits == {"train": 1, "test": 2}
    assert dataset.captions("test") == [CAPTIONS[0], ["lines and ends"]]
    assert dataset.captions("train") == [CAPTIONS[1]]
    assert dataset.images("test", [0, 1]) == [files["all/b.jpg"], files["all/c.jpg"]]
    assert dataset.labels("test").tolist() == [-1, -1]
    assert dataset.info.left_out == {
        "a caption without an image": ["all/gone.jpg"], "an image without a caption": ["all/none.jpg"]
    }  # fmt: skip
    assert dict(summary_of(dataset).lines())["captions"] == "1 train (1 an image), 3 test (1 to 2 an image)"


def test_lists_as_albef_passes_them_on(image: Make, laid: Make, fetched: Make) -> None:
    files = photos(image, ["x/1.jpg", "x/2.jpg", "x/3.jpg"])
    train = [{"image": "x/1.jpg", "caption": "one"}, {"image": "x/1.jpg", "caption": "another"}]
    test = [{"image": "x/3.jpg", "caption": ["three"]}, {"image": "x/2.jpg", "caption": ["two", "2"]}]
    lists = {"mine_train.json": json.dumps(train).encode(), "mine_val.json": json.dumps(test).encode()}
    dataset = fetched(OWN, laid("x", {**files, **lists}))
    assert dataset.captions("train") == [["one", "another"]]
    assert dataset.captions("test") == [["two", "2"], ["three"]]  # `val`, as there is no test


METADATA: dict[str, Callable[[], bytes]] = {
    "metadata.csv": lambda: (
        'file_name,text\nsub/1.jpg,"a dog, ""big"""\n2.jpg,a cat\n2.jpg,another\n'.encode("utf-8-sig")
    ),
    "metadata.jsonl": lambda: "\n".join(
        json.dumps({"file_name": name, "captions": lines})
        for name, lines in (("sub/1.jpg", 'a dog, "big"'), ("2.jpg", ["a cat", "another"]))
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", METADATA)
def test_a_folder_with_metadata(name: str, image: Make, laid: Make, fetched: Make) -> None:
    files = photos(image, ["test/sub/1.jpg", "test/2.jpg", "train/1.jpg"])
    train = {"train/metadata.csv": b"file_name,text\n1.jpg,a train\n"}
    dataset = fetched(OWN, laid("x", {**files, **train, f"test/{name}": METADATA[name]()}))
    assert dataset.captions("test") == [["a cat", "another"], ['a dog, "big"']]
    assert dataset.captions("train") == [["a train"]]
    assert "left_out" not in [line for line, _ in summary_of(dataset).lines()]


@pytest.mark.parametrize(
    ("name", "text"),
    [("metadata.csv", b"file_name,text\n./1.jpg,a cat\nsub/../2.jpg,a dog\n"),
     ("mine.json", b'[{"image": "./1.jpg", "caption": "a cat"}, {"image": "2.jpg", "caption": "a dog"}]')],
)  # fmt: skip
def test_names_as_a_shell_writes_them(name: str, text: bytes, image: Make, laid: Make, fetched: Make) -> None:
    """Each in two folders of a name, so that the path alone says which it is."""
    files = photos(image, ["1.jpg", "2.jpg", "other/1.jpg"])
    assert fetched(OWN, laid("x", {**files, name: text})).captions("test") == [["a cat"], ["a dog"]]


def test_metadata_without_captions_is_read_as_before(image: Make, laid: Make, fetched: Make) -> None:
    files = photos(image, ["a/1.jpg", "b/2.jpg"])
    for text in (b"file_name,label\na/1.jpg,a\n", b"name,text\na/1.jpg,a cat\n"):
        with pytest.raises(UserError, match=r"metadata\.csv, which is not read"):
            fetched(OWN, laid(str(len(text)), {**files, "metadata.csv": text}))
    both = {**files, "metadata.csv": b"file_name,text,label\na/1.jpg,a cat,a\n"}
    with pytest.raises(UserError, match="columns text and label"):
        fetched(OWN, laid("both", both))


@pytest.mark.parametrize("column", ["captions", "caption", "sentences", "text"])
def test_parquet(column: str, image: Make, laid: Make, fetched: Make) -> None:
    images = [image(n, (20, 30), "JPEG") for n in range(3)]
    values: Any = CAPTIONS if column in ("captions", "caption") else [lines[0] for lines in CAPTIONS]
    data = {"data/test-0.parquet": parquet({"image": images, column: values, "id": [1, 2, 3]})}
    dataset = fetched(OWN, laid("x", data))
    assert dataset.captions("test") == [lines if values is CAPTIONS else lines[:1] for lines in CAPTIONS]
    assert dataset.images("test", [0, 1, 2]) == images
    assert (dataset.info.pixel_size, dataset.info.resize) == (224, 256)


def test_a_label_column_beside_a_text_is_the_label(image: Make, laid: Make, fetched: Make) -> None:
    columns = {"image": [image(1), image(2)], "label": ["cat", "dog"], "text": ["a cat", "a dog"]}
    dataset = fetched(OWN, laid("x", {"test.parquet": parquet(columns)}))
    assert dataset.info.class_names == ("cat", "dog") and not dataset.info.captions


def samples(image: Make) -> dict[str, bytes]:
    files = {f"s{n}.jpg": image(n, 16, "JPEG") for n in range(3)}
    texts = {f"s{n}.txt": "\n\n".join(lines).encode() for n, lines in enumerate(CAPTIONS)}
    return {**files, **texts}


def test_webdataset(image: Make, laid: Make, tar_of: Make, fetched: Make) -> None:
    inside = samples(image) | {f"s{n}.json": json.dumps({"key": n, "caption": "x"}).encode() for n in range(3)}
    shard = fetched(OWN, laid("x", {"test/0.tar": tar_of(dict(sorted(inside.items())), "w")}))
    assert shard.captions("test") == CAPTIONS
    assert (shard.info.image_size, shard.info.pixel_size) == (16, 16)
    flat = fetched(OWN, laid("y", {f"test/{name}": content for name, content in samples(image).items()}))
    assert flat.info.checksum == shard.info.checksum


def test_texts_in_the_folders_of_classes_are_no_captions(image: Make, laid: Make, fetched: Make) -> None:
    files = {f"{k}/{n}.{kind}": content for k in "ab" for n in range(2)
             for kind, content in (("jpg", image(n, 16, "JPEG")), ("txt", b"0 0.5 0.5 0.1 0.1"))}  # fmt: skip
    dataset = fetched(OWN, laid("x", files))
    assert dataset.info.class_names == ("a", "b")


HOSTILE: dict[str, tuple[Any, str]] = {
    "a number": ([3], "3 is no caption"),
    "nothing": ([None], "None is no caption"),
    "a list": ([["nested"]], "is no caption"),
    "an object": ([{"tokens": ["a"]}], "is no caption"),
    "no captions": ([], "has no caption"),
    "empty": (["a dog", "  \n"], "a caption is empty"),
    "a control character": (["a dog \x1b[2J"], r"do not print \(\\x1b\)"),
    "a null": (["a\0dog"], r"do not print \(\\x00\)"),
    "a bidi override": (["a \u202e dog"], r"do not print \(\\u202e\)"),
    "half a surrogate pair": (["a \ud800 dog"], r"do not print \(\\ud800\)"),
    "a book": (["word " * 3000], "14,999 characters|15,000 characters"),
    "very many": (["a dog"] * 1001, "1,001 captions"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_captions_that_are_none_are_refused_in_one_line(kind: str, image: Make, laid: Make, tmp_path: Path) -> None:
    value, line = HOSTILE[kind]
    files = photos(image, ["all/1.jpg", "all/2.jpg"])
    entries = [{"filepath": "all", "filename": "1.jpg", "split": "test", "sentences": value}]
    listing = json.dumps({"images": [*entries, {**entries[0], "filename": "2.jpg", "sentences": [{"raw": "fine"}]}]})
    home = Home(tmp_path / "home", "")
    with pytest.raises(UserError, match=line) as caught:
        fetch_dataset("mine", home, FetchRequest(laid("x", {**files, "dataset_mine.json": listing.encode()})))
    assert "1.jpg" in str(caught.value) and str(caught.value).isprintable() and caught.value.hint
    assert not list(home.datasets.glob("*.h5"))


LISTS: dict[str, tuple[str, bytes, str]] = {
    "a split that is none": ("a.json", karpathy(("1.jpg", "extra", ["a dog"])), "no list of captions"),
    "an image in two splits": (
        "a.json", karpathy(("1.jpg", "test", ["a dog"]), ("1.jpg", "train", ["a dog"])), "of test and of train"
    ),
    "a name that is a number": (
        "a.json", b'{"images": [{"filename": 1, "split": "test", "sentences": []}]}', "no list of captions"
    ),
    "images elsewhere": ("a.json", karpathy(("3.jpg", "test", ["a dog"])), "no image that a.json names"),
    "a path out of the folder": (
        "metadata.csv", b"file_name,text\n../../etc/passwd,a dog\n", "no image that metadata.csv names"
    ),
    "no JSON": ("metadata.jsonl", b'{"file_name": "all/1.jpg", "text": "a"}\n{"file', "damaged near line 2"),
    "no UTF-8": ("metadata.csv", b"file_name,text\nall/1.jpg,\xff\n", "damaged near line 1"),
    "a line without a name": ("metadata.csv", b"file_name,text\n,a dog\n", "line 2 has no file_name"),
    "a line without a caption": ("metadata.csv", b"file_name,text\nall/1.jpg\n", "line 2 has no file_name or no text"),
    "an endless field": ("metadata.csv", b"file_name,text\nall/1.jpg," + b"x" * 200_000, "damaged near line"),
    "a huge number": ("metadata.jsonl", b'{"file_name": "all/1.jpg", "text": 1}', "1 is no caption"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LISTS)
def test_lists_that_are_none(kind: str, image: Make, laid: Make, fetched: Make) -> None:
    name, content, line = LISTS[kind]
    with pytest.raises(UserError, match=line) as caught:
        fetched(OWN, laid("x", {**photos(image, ["all/1.jpg", "all/2.jpg"]), name: content}))
    assert str(caught.value).isprintable() and caught.value.hint


def test_a_name_that_may_be_two_images(image: Make, laid: Make, fetched: Make) -> None:
    files = photos(image, ["a/1.jpg", "b/1.jpg"])
    listing = json.dumps([{"image": "1.jpg", "caption": "a dog"}]).encode()
    with pytest.raises(UserError, match=r"is 1\.jpg a/1\.jpg or b/1\.jpg"):
        fetched(OWN, laid("x", {**files, "test.json": listing}))


def test_the_same_again_and_something_else(image: Make, laid: Make, tmp_path: Path) -> None:
    folder, home = (
        laid("x", {**photos(image, ["1.jpg"]), "metadata.csv": b"file_name,text\n1.jpg,a dog\n"}),
        Home(tmp_path / "home", ""),
    )
    assert fetch_dataset("mine", home, FetchRequest(folder))
    assert not fetch_dataset("mine", home, FetchRequest(folder))
    (folder / "metadata.csv").write_bytes(b"file_name,text\n1.jpg,a horse\n")
    with pytest.raises(UserError, match="has changed since"):
        fetch_dataset("mine", home, FetchRequest(folder))


def test_karpathys_captions_of_flickr(shared: Path, image: Make, laid: Make, fetched: Make) -> None:
    """All 1,000 test images of Flickr30k, of which two are made up here."""
    listing = (shared / "data" / "captions" / "flickr30k_test.json").read_bytes()
    entries = json.loads(listing)
    files = photos(image, [entry["image"] for entry in entries[:2]])
    dataset = fetched(OWN, laid("x", {**files, "flickr30k_test.json": listing}))
    assert dataset.captions("test") == [entry["caption"] for entry in entries[:2]]
    assert dataset.info.left_out_counts == {"a caption without an image": 998}
