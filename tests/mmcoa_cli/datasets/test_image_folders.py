"""Images in split/class/image layout."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.decoding import Encoded, prepared
from mmcoa_cli.datasets.files import Files
from mmcoa_cli.datasets.formats.image_folders import describe, read_images, scan
from mmcoa_cli.datasets.samples import Sample
from mmcoa_cli.datasets.sources.archives import open_files
from store.errors import UserError

Image = Callable[..., bytes]
PETS = DatasetRow("pets", class_names=("cat", "Big_Dog"), pixel_size=8)


def files_of(contents: Mapping[str, bytes]) -> Files:
    sizes = {path: len(contents[path]) for path in sorted(contents)}
    return Files("pets.zip", sizes, lambda path: io.BytesIO(contents[path]))


def samples_of(contents: Mapping[str, bytes], row: DatasetRow = PETS) -> list[tuple[str, Any, int]]:
    """Split, decoded image and label of each."""
    files = files_of(contents)
    return [decoded(sample, row) for sample in read_images(files, scan(files), row)]


def decoded(sample: Sample, row: DatasetRow) -> tuple[str, Any, int]:
    assert isinstance(sample.image, Encoded)
    return sample.split, prepared(sample.image, row).image, sample.label


def test_labels_follow_the_row_and_not_the_folders(image: Image) -> None:
    found = samples_of({"test/big dog/1.png": image(0), "train/cat/2.png": image(1), "train/BIG-DOG/1.png": image(2)})
    assert [(split, label) for split, _, label in found] == [("train", 0), ("train", 1), ("test", 1)]
    assert found[0][1].shape == (8, 8, 3)


@pytest.mark.parametrize("above", ["", "pets/", "a/b/"])
def test_the_layout_may_lie_below_other_folders(image: Image, above: str) -> None:
    found = samples_of({f"{above}train/cat/1.png": image(0), f"{above}readme.txt": b"", f"{above}loose.png": image(1)})
    assert [(split, label) for split, _, label in found] == [("train", 0)]


def test_a_class_may_be_called_like_a_split_and_hold_folders(image: Image) -> None:
    row = DatasetRow("trains", class_names=("train", "test"), pixel_size=8)
    found = samples_of({"train/test/a/1.png": image(0), "test/train/a/1.png": image(0)}, row)
    assert [(split, label) for split, _, label in found] == [("train", 1), ("test", 0)]


def test_val_is_the_test_set_where_there_is_none(image: Image) -> None:
    without = scan(files_of({"val/cat/1.png": image(0), "train/cat/1.png": image(0)}))
    with_test = scan(files_of({"val/cat/1.png": image(0), "test/cat/1.png": image(0)}))
    assert without.counts == {"train": 1, "test": 1}
    assert with_test.counts == {"val": 1, "test": 1}


def test_folders_of_classes_without_splits_are_the_test_set(image: Image) -> None:
    found = samples_of({"pets/cat/1.png": image(0), "pets/big_dog/1.png": image(1), "readme.png": image(2)})
    assert [(split, label) for split, _, label in found] == [("test", 0), ("test", 1)]


def test_a_million_paths_take_little_memory() -> None:
    """A tenth of ImageNet's files: all of them may take 700 MB more than their own paths."""
    paths = {
        f"{split}/n{k:08}/ILSVRC2012_{split}_{k:08}_{n:06}.JPEG": 110_000
        for split, count in (("train", 128), ("val", 5))
        for k in range(1000)
        for n in range(count)
    }
    files = Files("imagenet", paths, lambda _: io.BytesIO())
    tracemalloc.start()
    try:
        layout = scan(files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(layout.images) == len(paths) == 133_000
    assert 10 * peak < 700e6


def test_classes_json_names_the_folders(image: Image) -> None:
    names = json.dumps({"n01": "cat", "n02": "Big Dog", "n03": "unused"}).encode()
    contents = {"classes.json": names, "train/n02/1.png": image(0), "train/n01/1.png": image(1)}
    assert [label for _, _, label in samples_of(contents)] == [0, 1]
    assert describe(files_of(contents), scan(files_of(contents)), row=DatasetRow("x")).class_names == ("cat", "Big Dog")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"n01": 1}', b"[" * 100_000, b"\xff"])
def test_a_classes_json_that_is_none(image: Image, content: bytes) -> None:
    with pytest.raises(UserError, match=r"classes\.json"):
        scan(files_of({"classes.json": content, "train/n01/1.png": image(0)}))


def test_a_dataset_of_ones_own_keeps_its_size_if_all_share_it(image: Image) -> None:
    same = files_of({"train/b/1.png": image(0, 12), "test/b/1.png": image(0, 12), "test/a/1.png": image(1, 12)})
    row = describe(same, scan(same), row=DatasetRow("own"))
    assert (row.class_names, row.pixel_size, row.resize) == (("a", "b"), 12, None)
    for other in (image(1, 13), image(1, (12, 13))):
        varying = files_of({"train/b/1.png": image(0, 12), "test/b/1.png": image(0, 12), "test/a/1.png": other})
        row = describe(varying, scan(varying), row=DatasetRow("own"))
        assert (row.pixel_size, row.resize) == (224, 256)


def test_images_of_varying_size_stay_encoded(image: Image) -> None:
    contents = {"train/cat/1.jpg": image(0, (30, 40), "JPEG"), "train/cat/2.png": image(1, 9)}
    found = samples_of(contents, DatasetRow("pets", class_names=("cat",), resize=256))
    assert [data for _, data, _ in found] == list(contents.values())


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    (tmp_path / "train" / "cat").mkdir(parents=True)
    Pillow.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / "train" / "cat" / "1.png")
    with open_files(tmp_path, scratch=tmp_path) as files:
        ((_, pixels, _),) = (decoded(sample, PETS) for sample in read_images(files, scan(files), PETS))
    np.testing.assert_array_equal(pixels, np.full((8, 8, 3), 7))


@pytest.mark.parametrize(
    ("contents", "line"),
    [
        ({"train/cow/1.png": "whole"}, "'cow' is no class of pets"),
        ({"train/cat/1.png": "large"}, "is 9x9 pixels, this dataset's images are 8x8"),
        ({"train/cat/1.png": "cut"}, "damaged"),
        ({"train/cat/1.png": "text"}, "no image that can be read"),
        ({"train/cat/1.png": "postscript"}, "no image that can be read"),
        ({"1.png": "whole"}, "no images in folders of classes"),
        ({"train/1.png": "whole"}, "no images in folders of classes"),
        ({}, "no images in folders of classes"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(image: Image, contents: dict[str, str], line: str) -> None:
    kinds = {
        "whole": image(0), "large": image(0, 9), "cut": image(0, 8)[:-60], "text": b"no image",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/mark) (w) file\n",
    }  # fmt: skip
    with pytest.raises(UserError, match=line):
        samples_of({path: kinds[kind] for path, kind in contents.items()})


def test_a_damaged_image_among_encoded_ones_is_found_when_it_is_fetched(image: Image) -> None:
    with pytest.raises(UserError, match="damaged"):
        samples_of({"train/cat/1.jpg": image(0, 64, "JPEG")[:-400]}, DatasetRow("pets", ("cat",), resize=256))


def test_two_classes_of_one_name_in_prompts(image: Image) -> None:
    files = files_of({"train/big-dog/1.png": image(0), "train/big_dog/1.png": image(1)})
    with pytest.raises(UserError, match="same name"):
        describe(files, scan(files), row=DatasetRow("own"))


def test_an_image_that_would_fill_the_memory_is_refused() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match="too large"):
        samples_of({"train/cat/1.png": bomb}, DatasetRow("pets", ("cat",), resize=256))
