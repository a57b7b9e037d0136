"""Datasets as webdataset shards, in the layout of CLIP_benchmark's copies on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import DatasetRow
from store.datasets import Dataset
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
ROWS = catalog.datasets()
BIRDS = ("wren", "robin", "grey_heron")


def labelled(dataset: Dataset, split: str) -> list[tuple[int, bytes]]:
    count = dataset.info.splits[split]
    return list(zip(dataset.labels(split).tolist(), dataset.images(split, range(count)), strict=True))


def shard(tar_of: Make, samples: Sequence[tuple[bytes, Any]], *, start: int = 0, ending: str = "webp") -> bytes:
    files: Contents = {}
    for number, (data, label) in enumerate(samples, start):
        files[f"s{number:07}.{ending}"] = data
        files[f"s{number:07}.cls"] = str(label).encode()
    return tar_of(files, "w")


def names_file(names: Sequence[str]) -> Contents:
    return {"classnames.txt": "\n".join(names).encode(), "zeroshot_classification_templates.txt": b"a photo of {c}."}


def test_shards_of_a_dataset_of_the_catalog(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    images = [image(n, (9, 11), "WEBP") for n in range(5)]
    folder = laid("x", {
        **names_file(ROWS["dtd"].class_names),
        "test/0.tar": shard(tar_of, [(images[0], 46), (images[1], 0)]),
        "test/1.tar": shard(tar_of, [(images[2], 3)], start=2),
        "test/nshards.txt": b"2",
        "train/0.tar": shard(tar_of, [(images[3], 5), (images[4], 5)]),
        "train/nshards.txt": b"1",
    })  # fmt: skip
    dataset = fetched("dtd", folder)
    assert labelled(dataset, "test") == [(46, images[0]), (0, images[1]), (3, images[2])]
    assert labelled(dataset, "train") == [(5, images[3]), (5, images[4])]


def test_shards_whose_samples_have_the_same_names(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    """Each shard numbers its samples from 0: none replaces another, and none gets another's label."""
    images = [image(n, (9, 11), "WEBP") for n in range(6)]
    shards = {f"test/{n}.tar": shard(tar_of, [(images[2 * n], n), (images[2 * n + 1], 40 + n)]) for n in range(3)}
    dataset = fetched("dtd", laid("x", names_file(ROWS["dtd"].class_names) | shards))
    expected = {data: label for n in range(3) for data, label in ((images[2 * n], n), (images[2 * n + 1], 40 + n))}
    assert {data: label for label, data in labelled(dataset, "test")} == expected


def test_shards_unpacked_in_one_archive_and_compressed(
    image: Make, tar_of: Make, zip_of: Make, laid: Make, fetched: Make, tmp_path: Path
) -> None:
    inside = {}
    for number in range(3):
        inside[f"test/s{number:07}.jpg"] = image(number, (9, 11), "JPEG")
        inside[f"test/s{number:07}.cls"] = b"%d\n" % number
    files = names_file(ROWS["dtd"].class_names) | inside
    (tmp_path / "x.zip").write_bytes(zip_of(files))
    in_shard = {path.removeprefix("test/"): data for path, data in inside.items()}
    places = [
        laid("x", files),
        tmp_path / "x.zip",
        laid("y", {**names_file(ROWS["dtd"].class_names), "test/0.tar": tar_of(in_shard, "w")}),
        laid("z", {**names_file(ROWS["dtd"].class_names), "test/0.tar.gz": tar_of(in_shard)}),
    ]
    assert len({fetched("dtd", place).info.checksum for place in places}) == 1


def test_caltech101_of_clip_benchmark(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    """102 names in the order of TFDS, one of them the background; both splits are the test set."""
    row = ROWS["caltech101"]
    of_folder = {"BACKGROUND_Google": "background", **dict(zip(row.folders, row.class_names, strict=True))}
    names = [of_folder[folder] for folder in sorted(of_folder, key=str.lower)]
    place = names.index("background")
    assert len(names) == 102 and 0 < place < 101
    images = [image(n, (9, 11), "WEBP") for n in range(5)]
    folder = laid("x", {
        **names_file(names),
        "test/0.tar": shard(tar_of, [(images[0], 0), (images[1], place), (images[2], 101)]),
        "train/0.tar": shard(tar_of, [(images[3], place + 1), (images[4], place)]),
    })  # fmt: skip
    dataset = fetched("caltech101", folder)
    found = {data: dataset.info.class_names[label] for label, data in labelled(dataset, "test")}
    assert found == {images[0]: names[0], images[2]: names[101], images[3]: names[place + 1]}
    assert list(dataset.info.splits) == ["test"]


def test_the_names_that_clip_benchmark_gives_caltech101(
    shared: Path, image: Make, tar_of: Make, laid: Make, fetched: Make
) -> None:
    names = json.loads((shared / "data" / "names" / "en_classnames.json").read_text())["caltech101_vtab"]
    data = shard(tar_of, [(image(n, (9, 11), "WEBP"), n) for n in range(102)])
    dataset = fetched("caltech101", laid("x", {**names_file(names), "test/0.tar": data}))
    assert sorted(dataset.labels("test").tolist()) == list(range(101))


def test_eurosat_of_clip_benchmark(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    names = ROWS["eurosat"].class_names
    folder = laid("x", {
        **names_file(names),
        "test/0.tar": shard(tar_of, [(image(1, 64, "WEBP"), 9)]),
        "train/0.tar": shard(tar_of, [(image(2, 64, "WEBP"), 4), (image(3, 64, "WEBP"), 0)]),
    })  # fmt: skip
    dataset = fetched("eurosat", folder)
    assert sorted(dataset.labels("test").tolist()) == [0, 4, 9]
    assert dataset.info.part("test") == "3 of 27,000 test images, 3 of 10 classes"


def test_sun397_of_clip_benchmark_is_all_a_test_set(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    data = shard(tar_of, [(image(1, (9, 11), "WEBP"), 396)])
    files = {**names_file(ROWS["sun397"].class_names), "test/0.tar": data}
    assert fetched("sun397", laid("x", files)).labels("test").tolist() == [396]


def test_coco_of_clip_benchmark(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    captions = [[f"caption {place} of {n}, ß" for place in range(5)] for n in range(2)]
    captions[1].append("a sixth")
    inside: Contents = {}
    for n in range(2):
        inside[f"s{n:07}.jpg"] = image(n, (20, 30), "JPEG")
        inside[f"s{n:07}.txt"] = "\n".join(captions[n]).encode()
    dataset = fetched("mscoco", laid("x", {"test/0.tar": tar_of(inside, "w"), "test/nshards.txt": b"1"}))
    assert dataset.captions("test") == [lines[:5] for lines in captions]
    assert dataset.images("test", [0, 1]) == [inside["s0000000.jpg"], inside["s0000001.jpg"]]
    inside["s0000001.txt"] = b"one\ntwo"
    with pytest.raises(UserError, match="has 2 captions, not 5"):
        fetched("mscoco", laid("y", {"test/0.tar": tar_of(inside, "w")}))


@pytest.mark.parametrize("label", ["47", "-1", "3.5", "", "wrench", "9" * 50])
def test_a_label_of_a_shard_that_is_none(label: str, image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    data = shard(tar_of, [(image(1, 9, "WEBP"), 0), (image(2, 9, "WEBP"), label)])
    with pytest.raises(UserError, match=r"s0000001\.webp") as caught:
        fetched("dtd", laid("x", {**names_file(ROWS["dtd"].class_names), "test/0.tar": data}))
    assert "\n" not in str(caught.value) and caught.value.hint


def test_an_image_without_a_label_is_left_out_and_counted(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    data = tar_of({"a.jpg": image(1, 9, "JPEG"), "a.cls": b"1", "b.jpg": image(2, 9, "JPEG"), "c.cls": b"2"}, "w")
    folder = laid("x", {**names_file(ROWS["dtd"].class_names), "test/0.tar": data})
    dataset = fetched("dtd", folder, splits={"test": 2})
    assert dataset.info.part("test") == "1 of 2 test images, 1 of 47 classes"


def test_labels_without_any_image(tar_of: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match=r"no image beside its \.cls files"):
        fetched("dtd", laid("x", {"test/0.tar": tar_of({"a.cls": b"1", "b.json": b"{}"}, "w")}))


def test_shards_of_ones_own(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = {
        "train-000.tar": shard(tar_of, [(image(1), 2), (image(2), 0)], ending="png"),
        "val-000.tar": shard(tar_of, [(image(3), 1)], ending="png"),
    }
    with pytest.raises(UserError, match="numbers its classes"):
        fetched(DatasetRow("birds"), laid("x", files))
    dataset = fetched(DatasetRow("birds"), laid("y", files | {"classnames.txt": b"wren\nrobin\n\ngrey_heron\n"}))
    assert dataset.info.class_names == BIRDS
    assert dataset.info.splits == {"train": 2, "test": 1}
