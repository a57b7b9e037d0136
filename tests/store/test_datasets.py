"""Dataset files: what goes in comes out, whole or not at all, and damaged or hostile files are refused in words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmcoa_cli.terminal.errors import explained
from store.dataset_content import crc_of_captions
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.errors import UserError

Start = Callable[[str], Any]
NAMES = ("cat", "dog", "grey_seal")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (700, 4, 4, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 700)

WRITER = """
import numpy as np
from store.dataset_content import crc_of_captions
from store.dataset_writing import DatasetWriter
settings = {"pixel_size": 32, "resize": None, "template": "{}", "source": "", "image_size": 32}
writer = DatasetWriter(folder / "toy.h5", name="toy", class_names=("a",), **settings)
"""
KILLED = f"""{WRITER}
with writer:
    for _ in range(600):
        writer.add("train", np.ones((32, 32, 3), np.uint8), 0)
    pause()
"""
FULL_DISK = f"""{WRITER}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    with writer:
        for _ in range(IMAGES):
            writer.add("train", np.ones((32, 32, 3), np.uint8), 0)
except OSError as error:
    print(error.errno)
"""


def writer(path: Path, **changes: Any) -> DatasetWriter:
    settings: dict[str, Any] = {
        "name": "toy",
        "class_names": NAMES,
        "pixel_size": 4,
        "resize": None,
        "template": "This is a photo of a {}",
        "source": "made here",
        "licence": "none",
        "synonyms": {"cat": ["tom", "kitten"]},
        "image_size": 4,
    }
    return DatasetWriter(path, **{**settings, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with writer(tmp_path / "toy.h5") as out:
        for i in range(700):
            out.add("train" if i < 600 else "test", IMAGES[i], int(LABELS[i]))
    return tmp_path / "toy.h5"


def test_images_and_labels_come_back(path: Path) -> None:
    with Dataset.open(path) as dataset:
        assert not dataset.encoded
        assert np.array_equal(dataset.labels("train"), LABELS[:600])
        assert np.array_equal(np.stack(dataset.images("test", range(100))), IMAGES[600:])


@pytest.mark.parametrize("rows", [[], [5], [7, 7, 3], [0, 599], list(range(599, 0, -7)), [300, 301, 302, 300]])
def test_any_selection_comes_in_its_order(path: Path, rows: list[int]) -> None:
    with Dataset.open(path) as dataset:
        images = dataset.images("train", rows)
    assert len(images) == len(rows)
    assert all(np.array_equal(image, IMAGES[row]) for image, row in zip(images, rows, strict=True))


def test_info_tells_everything(path: Path) -> None:
    info = Dataset.open(path).info
    assert (info.name, info.class_names, info.splits) == ("toy", NAMES, {"train": 600, "test": 100})
    assert (info.pixel_size, info.resize, info.image_size, info.licence) == (4, None, 4, "none")
    assert info.synonyms == {"cat": ("tom", "kitten")}
    assert not info.partial


def test_encoded_images_keep_their_bytes(tmp_path: Path) -> None:
    images = [RNG.bytes(int(size)) for size in RNG.integers(1, 5000, 300)]
    with writer(tmp_path / "toy.h5", image_size=None) as out:
        for image in images:
            out.add("test", image, 2)
    with Dataset.open(tmp_path / "toy.h5") as dataset:
        assert dataset.encoded
        assert dataset.images("test", [299, 0, 0, 7]) == [images[299], images[0], images[0], images[7]]
        assert dataset.info.partial  # two classes have no image


PARTS = [
    ({}, range(3), {"train": "", "test": ""}),
    ({}, [0, 0, 2], {"train": "2 of 3 classes", "test": "2 of 3 classes"}),
    ({"train": 3, "test": 3}, range(3), {"train": "", "test": ""}),
    ({"train": 3, "test": 9}, range(3), {"train": "", "test": "3 of 9 test images"}),
    ({"train": 3, "test": 3}, [1, 1, 1], {"train": "1 of 3 classes", "test": "1 of 3 classes"}),
    ({"train": 50_000, "test": 1_000}, [0, 1, 1], {"train": "3 of 50,000 train images, 2 of 3 classes"}),
    ({"train": 3, "test": 2}, range(3), {"test": "3 images where the official test split has 2"}),
    ({"train": 3, "test": 3, "val": 1_500}, range(3), {"val": "0 of 1,500 val images", "test": ""}),
]


@pytest.mark.parametrize(("expected", "labels", "parts"), PARTS)
def test_what_a_part_lacks(tmp_path: Path, expected: Any, labels: Any, parts: dict[str, str]) -> None:
    with writer(tmp_path / "toy.h5", expected=expected) as out:
        for split in ("train", "test"):
            for label in labels:
                out.add(split, IMAGES[0], label)
    info = Dataset.open(tmp_path / "toy.h5").info
    assert {split: info.part(split) for split in parts} == parts
    assert info.expected == expected


def test_the_classes_of_a_split_are_counted_apart(tmp_path: Path) -> None:
    with writer(tmp_path / "toy.h5") as out:
        for label in range(3):
            out.add("train", IMAGES[0], label)
        out.add("test", IMAGES[0], 2)
    info = Dataset.open(tmp_path / "toy.h5").info
    assert (info.part("train"), info.part("test"), info.partial) == ("", "1 of 3 classes", False)


CAPTIONS = [[f"caption {place} of {n}: ça, 猫 \U0001f408" for place in range(2)] for n in range(600)]


def with_captions(path: Path, captions: Sequence[Sequence[str]]) -> Dataset:
    with writer(path, class_names=(), image_size=None, synonyms={}) as out:
        for number, lines in enumerate(captions):
            out.add("test", bytes([number % 256, 7]), captions=lines)
    return Dataset.open(path)


def test_captions_come_back_in_their_order(tmp_path: Path) -> None:
    with with_captions(tmp_path / "toy.h5", CAPTIONS) as dataset:
        assert dataset.captions("test") == CAPTIONS
        assert dataset.labels("test").tolist() == [-1] * 600
        assert dataset.images("test", [513]) == [bytes([1, 7])]
        assert (dataset.info.captions, dataset.info.partial, dataset.info.part("test")) == (2, False, "")
        with pytest.raises(UserError, match="no split called 'train'"):
            dataset.captions("train")


def test_the_checksum_is_of_the_captions_too(tmp_path: Path) -> None:
    changed = [*CAPTIONS[:9], ["other", "words"]]
    variants = [CAPTIONS[:10], changed, [lines[::-1] for lines in CAPTIONS[:10]], CAPTIONS[:9]]
    sums = [with_captions(tmp_path / f"{n}.h5", captions).info.checksum for n, captions in enumerate(variants)]
    assert len(set(sums)) == len(sums)
    assert with_captions(tmp_path / "again.h5", CAPTIONS[:10]).info.checksum == sums[0]


def test_an_image_has_as_many_captions_as_it_has(tmp_path: Path) -> None:
    lines = [["one"], ["two", "three", "two"], ["four", ""], ["猫" * 70_000]]
    with with_captions(tmp_path / "toy.h5", lines) as dataset:
        assert dataset.captions("test") == lines
        assert dataset.info.captions == 3
    with h5py.File(tmp_path / "toy.h5") as file:
        stored = file["test/captions/text"]
        assert stored.id.get_storage_size() < len(stored) == sum(len(line.encode()) for own in lines for line in own)


def test_captions_that_do_not_fit(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 captions of an image without a class"):
        with_captions(tmp_path / "captions.h5", [["one"], []])
    with pytest.raises(ValueError, match="2 captions of an image with a class"), writer(path) as out:
        out.add("test", IMAGES[0], 0, CAPTIONS[0])
    with Dataset.open(path) as dataset, pytest.raises(UserError, match="toy has classes and no captions"):
        dataset.captions("test")


def as_a_table(path: Path, captions: Sequence[Sequence[str]]) -> None:
    """As captions were written before: the same number for each image, in a table."""
    with h5py.File(path, "a") as file:
        del file["test/captions"]
        table = file["test"].create_dataset("captions", (len(captions), 2), h5py.string_dtype(), chunks=(4, 2))
        table[:] = np.array([list(lines) for lines in captions], dtype=object)
        file["test/captions_crc32"] = np.array([crc_of_captions(lines) for lines in captions], np.uint32)


def test_captions_in_a_table_are_read_and_have_the_same_checksum(tmp_path: Path) -> None:
    with_captions(tmp_path / "toy.h5", CAPTIONS[:5]).close()
    as_a_table(tmp_path / "toy.h5", CAPTIONS[:5])
    with Dataset.open(tmp_path / "toy.h5", again=True) as dataset:
        assert dataset.captions("test") == CAPTIONS[:5]


def captions_that_are_not_there(file: h5py.File) -> None:
    del file["test/captions"]


def captions_of_another_shape(file: h5py.File) -> None:
    del file["test/captions"]
    file["test"].create_dataset("captions", (5, 3), h5py.string_dtype())


def captions_that_are_numbers(file: h5py.File) -> None:
    del file["test/captions"]
    file["test"].create_dataset("captions", (5, 2), np.int64)


def captions_that_are_references(file: h5py.File) -> None:
    del file["test/captions"]
    file["test"].create_dataset("captions", (5, 2), h5py.ref_dtype)


def captions_of_broken_text(file: h5py.File) -> None:
    file["test/captions/text"][0] = 0xFF


def captions_that_a_terminal_obeys(file: h5py.File) -> None:
    file["test/captions/text"][0] = 0x1B


def captions_of_no_image(file: h5py.File) -> None:
    file["test/captions/image"][-1] = 7


def captions_of_images_out_of_order(file: h5py.File) -> None:
    file["test/captions/image"][0] = 1


def captions_without_an_image(file: h5py.File) -> None:
    file["test/captions/image"][8:] = 3


def captions_that_end_before_they_begin(file: h5py.File) -> None:
    file["test/captions/ends"][3] = 0


def captions_that_end_beyond_their_text(file: h5py.File) -> None:
    file["test/captions/ends"][-1] = 10**15


def captions_that_end_before_their_text(file: h5py.File) -> None:
    file["test/captions/ends"][-1] -= 1


def captions_without_ends(file: h5py.File) -> None:
    del file["test/captions/ends"]


def captions_with_ends_of_another_kind(file: h5py.File) -> None:
    ends = file["test/captions/ends"][:]
    del file["test/captions/ends"]
    file["test/captions/ends"] = ends.astype(np.float64)


@pytest.mark.parametrize(
    "damage",
    [
        captions_that_are_not_there, captions_of_another_shape, captions_that_are_numbers,
        captions_that_are_references, captions_of_broken_text, captions_that_a_terminal_obeys, captions_of_no_image,
        captions_of_images_out_of_order, captions_without_an_image, captions_that_end_before_they_begin,
        captions_that_end_beyond_their_text, captions_that_end_before_their_text, captions_without_ends,
        captions_with_ends_of_another_kind,
    ],
)  # fmt: skip
def test_damaged_captions_are_refused_in_one_line(tmp_path: Path, damage: Callable[[h5py.File], None]) -> None:
    with_captions(tmp_path / "toy.h5", CAPTIONS[:5]).close()
    with h5py.File(tmp_path / "toy.h5", "a") as file:
        damage(file)
    with pytest.raises(UserError, match=r"toy\.h5 cannot be read: ") as error:
        Dataset.open(tmp_path / "toy.h5").captions("test")
    assert explained(error.value).hint == "remove it and type: mmcoa fetch toy"


def test_a_reused_array_is_no_trap(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with writer(tmp_path / "toy.h5") as out:
        for value in range(3):
            image[:] = value
            out.add("test", image, 0)
    with Dataset.open(tmp_path / "toy.h5") as dataset:
        assert [int(image.max()) for image in dataset.images("test", range(3))] == [0, 1, 2]


def checksum(path: Path, images: Any, labels: Any, **changes: Any) -> str:
    with writer(path, **changes) as out:
        for image, label in zip(images, labels, strict=True):
            out.add("test", image, int(label))
    return Dataset.open(path).info.checksum


def test_the_checksum_is_of_images_labels_and_class_names(tmp_path: Path) -> None:
    images, labels, path = IMAGES[:9], LABELS[:9], tmp_path / "toy.h5"
    first = checksum(path, images, labels)
    assert checksum(path, images, labels, source="elsewhere") == first
    assert checksum(path, images[::-1], labels) != first
    assert checksum(path, images ^ (np.arange(9) == 4)[:, None, None, None].astype(np.uint8), labels) != first
    assert checksum(path, images, (labels + 1) % 3) != first
    assert checksum(path, images, labels, class_names=("cat", "dog", "seal")) != first


@pytest.mark.parametrize(
    ("image", "label"),
    [
        (np.zeros((4, 5, 3), np.uint8), 0),
        (np.zeros((4, 4, 3), np.float32), 0),
        (b"bytes", 0),
        (IMAGES[0], 3),
        (IMAGES[0], -1),
    ],
)
def test_what_does_not_fit_is_refused_and_the_old_file_stays(path: Path, image: Any, label: int) -> None:
    old = path.read_bytes()
    with pytest.raises(ValueError, match=r"is not one of|is expected"), writer(path) as out:
        out.add("test", image, label)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_leaves_the_old_file(path: Path, other: Start) -> None:
    old = path.read_bytes()
    other(KILLED).paused().kill()
    assert path.read_bytes() == old
    with writer(path) as out:
        out.add("test", IMAGES[0], 0)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("images", [1000, 255])  # full while images are added, and when the rest is written at the end
def test_a_full_disk_leaves_the_old_file(path: Path, other: Start, images: int) -> None:
    old = path.read_bytes()
    assert other(FULL_DISK.replace("IMAGES", str(images))).finish() == "27\n"  # EFBIG
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_dataset_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy is not in the store") as error:
        Dataset.open(tmp_path / "toy.h5")
    assert explained(error.value).hint == "mmcoa fetch toy"


def test_a_missing_split_names_those_there_are(path: Path) -> None:
    with Dataset.open(path) as dataset, pytest.raises(UserError, match="no split called 'val'") as error:
        dataset.labels("val")
    assert error.value.hint == "it has train, test"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_magic(path: Path) -> None:
    path.write_bytes(b"\x89HDX" + path.read_bytes()[4:])


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"info": "harmless"}))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def unfinished(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file.attrs["complete"]


def info_that_is_no_json(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["info"] = "{" * 10


def info_nested_without_end(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["info"] = "[" * 100_000


def sizes_that_are_not_so(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["info"] = json.dumps({**json.loads(file.attrs["info"]), "splits": {"train": 10**9}})


def labels_of_objects(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["test/labels"]
        file["test"].create_dataset("labels", (100,), h5py.ref_dtype)


def pickled_objects(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["test/labels"]
        file["test/labels"] = np.void(pickle.dumps(print))


def a_link_to_another_file(path: Path) -> None:
    shutil.copy(path, path.with_name("elsewhere.h5"))
    with h5py.File(path, "a") as file:
        del file["test"]
        file["test"] = h5py.ExternalLink("elsewhere.h5", "test")


def data_in_another_file(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(bytes(100 * 8))
    with h5py.File(path, "a") as file:
        del file["test/labels"]
        file["test"].create_dataset("labels", (100,), np.int64, external=[(str(secret), 0, 800)])


def a_group_within_itself(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["test/again"] = file["test"]


@pytest.mark.parametrize(
    "damage",
    [
        truncated, wrong_magic, a_pickle, empty, unfinished, info_that_is_no_json, info_nested_without_end,
        sizes_that_are_not_so, labels_of_objects, pickled_objects, a_link_to_another_file, data_in_another_file,
        a_group_within_itself,
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_file_is_refused_in_one_line(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    with pytest.raises(UserError, match=r"toy\.h5 cannot be read: ") as error:
        Dataset.open(path)
    assert explained(error.value).hint == "remove it and type: mmcoa fetch toy"
