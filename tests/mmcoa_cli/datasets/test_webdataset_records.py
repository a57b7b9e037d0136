"""Every sample of a webdataset has its own image and label, or is named as left out, or the dataset is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.formats.layouts import recognised
from store.errors import UserError

Make = Callable[..., Any]
NAMES = {"classnames.txt": b"cat\ndog\nfrog\n"}


def shade(value: int) -> bytes:
    """An image whose pixels all say `value`."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(*keys: str, start: int = 0, ending: str = "png") -> dict[str, bytes]:
    """The images 0, 1, 2 ... with their number modulo 3 as label."""
    files = {}
    for number, key in enumerate(keys, start):
        files[f"{key}.{ending}"] = shade(number)
        files[f"{key}.cls"] = b"%d" % (number % 3)
    return files


def read(place: Path, **row: Any) -> tuple[dict[str, list[tuple[int, int]]], dict[str, tuple[str, ...]]]:
    """The image's number and the label of each sample, by splits; and what is left out."""
    with recognised(DatasetRow("x", **row), place, scratch=place.parent) as found:
        splits: dict[str, list[tuple[int, int]]] = {}
        for split, image, label, _ in found.samples:
            with Image.open(io.BytesIO(image.read())) as opened:  # type: ignore[union-attr]
                splits.setdefault(split, []).append((opened.getpixel((0, 0))[0], label))  # type: ignore[index]
        return splits, dict(found.left_out)  # type: ignore[arg-type]


def in_order(count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(number, number % 3) for number in range(start, start + count)]


PAIRED: dict[str, dict[str, bytes]] = {
    "plain keys": samples("a", "b", "c"),
    "dots in keys": samples("img.0", "img.1", "img.2"),
    "more dots": samples("v1.0.a", "v1.0.b", "v1.1.a"),
    "another image of a sample": {**samples("0", "1", "2"), "0.seg.png": shade(99), "2.depth.png": shade(99)},
    "another image of a sample with dots": {**samples("i.0", "i.1", "i.2"), "i.0.seg.png": shade(99)},
    "an image by another name alone": {**samples("b", "c", start=1), "a.rgb.png": shade(0), "a.cls": b"0"},
    "capital letters": {"A.PNG": shade(0), "A.CLS": b"0", **samples("b", "c", start=1)},
    "keys that say splits": samples("test_1", "train_3", "val.png"),
    "folders in keys": samples("train/1", "val/2", "val/3"),
    "names": {f"{n}.{e}": d for n, name in enumerate(("cat", "dog", "frog"))
              for e, d in (("png", shade(n)), ("cls", name.encode()))},
    "json": {f"{n}.{e}": d for n in range(3) for e, d in (("png", shade(n)), ("json", b'{"label": %d}' % n))},
    "json of names": {f"{n}.{e}": d for n, name in enumerate(("cat", "dog", "frog"))
                      for e, d in (("png", shade(n)), ("json", b'{"cls": "%s", "id": 7}' % name.encode()))},
    "json beside labels": {**samples("0", "1", "2"), "0.json": b'{"label": 2}', "1.json": b"["},
}  # fmt: skip


@pytest.mark.parametrize("files", PAIRED.values(), ids=PAIRED)
def test_each_label_has_its_own_image(files: Mapping[str, bytes], tar_of: Make, laid: Make, tmp_path: Path) -> None:
    splits, _ = read(laid("x", {**NAMES, "test/0.tar": tar_of(files, "w")}))
    assert splits == {"test": in_order(3)}
    (tmp_path / "shard-00.tar").write_bytes(tar_of({**NAMES, **files}, "w"))
    if "folders in keys" not in PAIRED or files is not PAIRED["folders in keys"]:
        assert read(tmp_path / "shard-00.tar")[0] == {"test": in_order(3)}


def test_what_has_no_partner_is_named(tar_of: Make, laid: Make) -> None:
    files = {**samples("0", "1", "2"), "3.png": shade(3), "4.cls": b"1", "logo.png": shade(5), "0.seg.png": shade(6)}
    folder = laid("x", {**NAMES, "test/0.tar": tar_of(files, "w"), "test/banner.png": shade(7), "README.md": b"x"})
    splits, left_out = read(folder)
    assert splits == {"test": in_order(3)}
    assert left_out == {
        "an image without a label": ("test/0/3.png", "test/0/logo.png", "test/banner.png"),
        "a label without an image": ("test/0/4.cls",), "another image of a sample": ("test/0/0.seg.png",),
        "no image": ("README.md",),
    }  # fmt: skip


def test_shards_with_the_same_keys_stay_apart(tar_of: Make, laid: Make) -> None:
    """Also where the files of one key are spread over two shards: they are no sample."""
    shards = {
        "test/a.tar": tar_of(samples("0", "1", "2"), "w"),
        "test/b.tar": tar_of(samples("0", "1", "2", start=3, ending="jpg"), "w"),
        "test/c.tar": tar_of({**samples("7", start=6), "8.png": shade(8)}, "w"),
        "test/d.tar": tar_of({**samples("7", start=7), "8.cls": b"1"}, "w"),
    }
    splits, left_out = read(laid("x", {**NAMES, **shards}))
    assert splits == {"test": in_order(8)}
    assert left_out == {"an image without a label": ("test/c/8.png",), "a label without an image": ("test/d/8.cls",)}


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({**samples("0"), "0.jpg": shade(9)}, "which of these are one sample: test/0/0.jpg and test/0/0.png"),
        ({"0.a.png": shade(0), "0.b.png": shade(1), "0.cls": b"0"}, "test/0/0.a.png and test/0/0.b.png"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b""}, "test/0/1.png: '' is no label"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b"0\n1"}, "'0\\n1' is no label"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b"1.0"}, "test/0/1.png: '1.0' is no label"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b"-1"}, "test/0/1.png: '-1' is no label"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b"3"}, "test/0/1.png: 3 is no label in 0..2"),
        ({**samples("0"), "1.png": shade(1), "1.cls": b"9" * 5000}, "'9999"),
        ({"1.png": shade(1), "1.json": b'{"label": 1, "cls": 0}'}, "its .json holds cls: 0, label: 1"),
        ({"1.png": shade(1), "1.json": b'{"label": [1]}'}, "its .json holds label: [1]"),
        ({"1.png": shade(1), "1.json": b'{"label": true}'}, "its .json holds label: True"),
        ({"1.png": shade(1), "1.json": b'{"caption": "x"}'}, "its .json holds no label, and there is no .cls file"),
        ({"1.png": shade(1), "1.json": b"[" * 100_000}, "its .json holds no label"),
        ({"1.png": shade(1), "1.txt": b"  "}, "test/0/1.png has no caption"),
    ],
)
def test_samples_that_are_none(files: Mapping[str, bytes], line: str, tar_of: Make, laid: Make) -> None:
    with pytest.raises(UserError) as caught:
        read(laid("x", {**NAMES, "test/0.tar": tar_of(files, "w")}))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint and len(str(caught.value)) < 300


def test_a_key_that_is_twice_in_a_shard_is_refused(laid: Make, tar_of: Make) -> None:
    one, other = tar_of(samples("0", "1"), "w"), tar_of(samples("0", start=2), "w")
    appended = one.rstrip(b"\0") + bytes(-len(one.rstrip(b"\0")) % 512) + other
    for data, line in ((appended, r"holds 0\.png twice"), (one + other, r"0\.tar goes on after its end")):
        with pytest.raises(UserError, match=line):
            read(laid("x", {**NAMES, "test/0.tar": data}))


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["train/0.tar", "test/0.tar"], {"train": 3, "test": 3}),
        (["train-000.tar", "train-001.tar", "val-000.tar"], {"train": 6, "test": 3}),
        (["birds_train_0.tar", "birds_test_0.tar"], {"train": 3, "test": 3}),
        (["0.tar", "1.tar"], {"test": 6}),
        (["train-0.tar", "test-0.tar", "extra-0.tar"], {"train": 3, "test": 3}),
        (["wds/TRAIN/0.tar", "wds/Test/0.tar"], {"train": 3, "test": 3}),
    ],
)
def test_splits_are_the_names_of_shards(paths: list[str], splits: dict[str, int], tar_of: Make, laid: Make) -> None:
    shards = dict.fromkeys(paths, tar_of(samples("train_0", "val_1", "test_2"), "w"))
    found, _ = read(laid("x", {**NAMES, **shards}))
    assert {split: len(own) for split, own in found.items()} == splits


@pytest.mark.parametrize(
    ("paths", "line"),
    [
        (["big/test-0.tar", "small/test-0.tar"], "several configurations, or datasets"),
        (["a/0.tar", "b/0.tar"], "several configurations"),
        (["test/train-0.tar"], "is it train or test?"),
        (["train-test-0.tar"], "names the splits test and train"),
    ],
)
def test_shards_that_are_no_one_dataset(paths: list[str], line: str, tar_of: Make, laid: Make) -> None:
    with pytest.raises(UserError) as caught:
        read(laid("x", {**NAMES, **dict.fromkeys(paths, tar_of(samples("0", "1", "2"), "w"))}))
    assert line in str(caught.value) and caught.value.hint


def test_one_shard_is_of_the_split_that_its_name_says(tar_of: Make, tmp_path: Path) -> None:
    (tmp_path / "train-000.tar").write_bytes(tar_of({**NAMES, **samples("1_test", "2_val", "3")}, "w"))
    assert read(tmp_path / "train-000.tar")[0] == {"train": in_order(3)}
    (tmp_path / "test-0.tar").write_bytes(tar_of({**NAMES, **samples("train/0", "train/1", "train/2")}, "w"))
    with pytest.raises(UserError, match=r"test-0\.tar holds train: which of them is it\?"):
        read(tmp_path / "test-0.tar")


def test_samples_that_lie_unpacked_beside_their_archive_count_once(tar_of: Make, laid: Make) -> None:
    unpacked = {f"test/{name}": data for name, data in samples("0", "1", "2").items()}
    splits, left_out = read(laid("x", {**NAMES, **unpacked, "test.tar": tar_of(samples("0", "1", "2"), "w")}))
    assert splits == {"test": in_order(3)}
    assert left_out == {"an archive beside the images": ("test.tar",)}


def test_lists_of_names_that_differ_are_refused(tar_of: Make, laid: Make) -> None:
    shard = tar_of(samples("0", "1", "2"), "w")
    files = {
        "test/0.tar": shard,
        "train/0.tar": shard,
        "test/classnames.txt": b"a\nb\nc",
        "train/classnames.txt": b"b\na\nc",
    }
    with pytest.raises(UserError, match=r"test/classnames\.txt and train/classnames\.txt differ"):
        read(laid("x", files))


def test_names_as_labels_are_in_the_order_in_which_people_count(tar_of: Make, laid: Make) -> None:
    files: dict[str, bytes] = {}
    for number, name in enumerate(("class10", "class2", "class1")):
        files |= {f"{number}.png": shade(number), f"{number}.cls": name.encode()}
    folder = laid("x", {"test/0.tar": tar_of(files, "w")})
    with recognised(DatasetRow("x"), folder, scratch=folder) as found:
        assert found.row.class_names == ("class1", "class2", "class10")
    splits, _ = read(folder, class_names=("one", "two", "ten"))
    assert splits == {"test": [(0, 2), (1, 1), (2, 0)]}


def test_numbers_and_names_together_are_refused(tar_of: Make, laid: Make) -> None:
    files = {"0.png": shade(0), "0.cls": b"0", "1.png": shade(1), "1.cls": b"dog"}
    with pytest.raises(UserError, match=r"numbers and names as labels: 0 \(test/0/0.png\) and 'dog' \(test/0/1.png\)"):
        read(laid("x", {"test/0.tar": tar_of(files, "w")}))
