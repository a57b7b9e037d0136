"""HDF5 files from elsewhere: each is refused in one line, within seconds, in memory that the file's size bounds."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from store.dataset_writing import DatasetWriter
from store.examples import ExampleSet

Start = Callable[[str], Any]
READING = """
import resource, time
from store.datasets import Dataset
from store.errors import UserError
from store.examples import ExampleSet

def read(path):
    if path.parent.name == "examples":
        return ExampleSet(path.parent, {"key": 1}, n=4, block_size=4).columns("label")
    with Dataset.open(path) as dataset:
        split = next(iter(dataset.info.splits))
        return dataset.labels(split), dataset.images(split, [0]), dataset.info.captions and dataset.captions(split)

for path in sorted(folder.glob("*/*.h5")):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        outcome = f"served {read(path)}"[:100]
    except UserError as error:
        outcome = "refused" if error.hint and str(error).isprintable() else f"badly said: {error}"
    except BaseException as error:
        outcome = repr(error)[:200]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(path.parent.name, path.stem, round(grown), round(time.process_time() - started, 1), outcome, sep="|")
"""


def dataset(path: Path, **settings: Any) -> h5py.File:
    """A dataset as it should be, open to be changed."""
    common: dict[str, Any] = {"pixel_size": 4, "resize": None, "template": "a {}", "source": "here"}
    common |= {"class_names": ("cat", "dog")} | settings
    with DatasetWriter(path, name=path.stem, **common) as writer:
        for number in range(4):
            image = np.full((4, 4, 3), number, np.uint8) if "image_size" in settings else bytes(50)
            captions = [] if common["class_names"] else ["a caption"] * 2
            writer.add("test", image, -1 if captions else number % 2, captions)
    return h5py.File(path, "a")


def say(file: h5py.File, **changes: Any) -> None:
    """Change what the file says of itself, and leave out the seal."""
    said = {**json.loads(file.attrs["info"]), **changes}
    file.attrs["info"] = json.dumps(said)
    del file.attrs["seal"]


def anew(file: h5py.File, name: str, **settings: Any) -> Any:
    del file[name]
    return file.create_dataset(name, **settings)


def packed_zeros(n: int) -> bytes:
    """zlib's stream of so many zeros: equal blocks, of which one is made, and the checksum that they have together."""
    deflate, size = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), 2**20
    block = deflate.compress(bytes(size)) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = deflate.compress(bytes(n % size)) + deflate.flush()
    return b"\x78\xda" + block * (n // size) + end + (n % 65_521 << 16 | 1).to_bytes(4)


def rows_that_are_not_there(file: h5py.File) -> None:
    n = 10**12
    anew(file, "test/images", shape=(n, 4, 4, 3), dtype=np.uint8, chunks=(1, 4, 4, 3))
    anew(file, "test/labels", shape=(n,), dtype=np.int64, chunks=(4096,))
    say(file, splits={"test": n})


def labels_that_are_not_there(file: h5py.File) -> None:
    anew(file, "test/labels", shape=(10**10,), dtype=np.int64)
    anew(file, "test/images", shape=(10**10, 4, 4, 3), dtype=np.uint8, chunks=(1, 4, 4, 3))
    say(file, splits={"test": 10**10})


def labels_of_no_class(file: h5py.File) -> None:
    file["test/labels"][1] = 2


def labels_below_zero(file: h5py.File) -> None:
    file["test/labels"][1] = -1


def a_bomb(file: h5py.File) -> None:
    images = anew(file, "test/images", shape=(4, 4, 4, 3), dtype=np.uint8, chunks=(4, 4, 4, 3), compression=9)
    images.id.write_direct_chunk((0, 0, 0, 0), packed_zeros(2**30))


def a_chunk_of_a_gigabyte(file: h5py.File) -> None:
    images = anew(file, "test/images", shape=(1, 18_000, 18_000, 3), dtype=np.uint8, chunks=True, compression=9)
    settings = {"dtype": np.uint8, "chunks": (1, 18_000, 18_000, 3), "compression": 9}
    images = anew(file, "test/images", shape=(1, 18_000, 18_000, 3), **settings)
    images.id.write_direct_chunk((0, 0, 0, 0), packed_zeros(18_000 * 18_000 * 3))
    anew(file, "test/labels", data=np.zeros(1, np.int64))
    say(file, splits={"test": 1}, image_size=18_000)


def compressed_labels(file: h5py.File) -> None:
    anew(file, "test/labels", data=np.zeros(4, np.int64), compression=9)


def compressed_twice(file: h5py.File) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 4, 4, 3))
    settings.set_deflate(9)
    settings.set_deflate(9)
    del file["test/images"]
    space = h5py.h5s.create_simple((4, 4, 4, 3))
    h5py.h5d.create(file["test"].id, b"images", h5py.h5t.STD_U8LE, space, dcpl=settings)


def a_filter_of_others(file: h5py.File) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 4, 4, 3))
    settings.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, (1,))
    del file["test/images"]
    space = h5py.h5s.create_simple((4, 4, 4, 3))
    h5py.h5d.create(file["test"].id, b"images", h5py.h5t.STD_U8LE, space, dcpl=settings)


def deep_groups(file: h5py.File) -> None:
    group = file
    for _ in range(2000):
        group = group.create_group("g")


def many_groups(file: h5py.File) -> None:
    for number in range(5000):
        file.create_group(str(number))


def a_huge_attribute(file: h5py.File) -> None:
    say(file, source="x" * 20_000_000)


def an_attribute_of_many(file: h5py.File) -> None:
    del file.attrs["info"], file.attrs["seal"]
    file.attrs.create("info", np.zeros(7000, np.int64))


def nothing_said(file: h5py.File) -> None:
    del file.attrs["info"]


def names_that_a_terminal_obeys(file: h5py.File) -> None:
    say(file, class_names=["cat", "\x1b[2Jerror: all is lost"])


def a_split_within_a_split(file: h5py.File) -> None:
    say(file, splits={"test/../test": 4})


def a_split_that_is_an_array(file: h5py.File) -> None:
    file["val"] = np.zeros(4)
    say(file, splits={"val": 4})


def numbers_that_are_texts(file: h5py.File) -> None:
    say(file, splits={"test": "4"})


def numbers_below_zero(file: h5py.File) -> None:
    say(file, present={"test": -3})


def images_of_no_size(file: h5py.File) -> None:
    say(file, pixel_size=0)


def class_names_that_are_numbers(file: h5py.File) -> None:
    say(file, class_names=[1, 2])


def a_committed_type(file: h5py.File) -> None:
    file["kind"] = np.dtype("f8")


def a_compound(file: h5py.File) -> None:
    file["more"] = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])


def a_soft_link(file: h5py.File) -> None:
    file["more"] = h5py.SoftLink("/test")


def a_virtual_array(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype=np.int64)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(4,))
    file.create_virtual_dataset("more", layout)


ARRAYS = [
    rows_that_are_not_there, labels_that_are_not_there, labels_of_no_class, labels_below_zero, a_bomb,
    a_chunk_of_a_gigabyte, compressed_labels, compressed_twice, a_filter_of_others, deep_groups, many_groups,
    a_huge_attribute, an_attribute_of_many, nothing_said, names_that_a_terminal_obeys, a_split_within_a_split,
    a_split_that_is_an_array, numbers_that_are_texts, numbers_below_zero, class_names_that_are_numbers,
    images_of_no_size,
    a_committed_type, a_compound, a_soft_link, a_virtual_array,
]  # fmt: skip


def rows_of_one_heap_entry(path: Path) -> None:
    """A million images, all of them the same bytes of the file."""
    with dataset(path) as file:
        file["test/images"][0] = np.zeros(500_000, np.uint8)
        place = file["test/images"].id.get_chunk_info(0).byte_offset
        reference = read_at(path, place, 16)
        n = 200_000
        anew(file, "test/images", shape=(n,), dtype=h5py.vlen_dtype(np.uint8))
        file["test/images"][0] = np.zeros(1, np.uint8)
        anew(file, "test/labels", data=np.zeros(n, np.int64))
        say(file, splits={"test": n})
        file.flush()
        offset = file["test/images"].id.get_offset()
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(reference * n)


def read_at(path: Path, place: int, size: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(place)
        return stream.read(size)


def a_block_before_it(path: Path) -> None:
    dataset(path, image_size=4).close()
    with h5py.File(path) as source, h5py.File(path.with_suffix(".new"), "w", userblock_size=512) as target:
        for name in source:
            source.copy(name, target)
        for name, value in source.attrs.items():
            target.attrs[name] = value
    path.with_suffix(".new").replace(path)


def a_heap_in_a_circle(path: Path) -> None:
    dataset(path).close()
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL") + 16
    content[place : place + 16] = bytes(16)  # an entry of no size
    path.write_bytes(content)


def captions_that_are_a_bomb(path: Path) -> None:
    """Captions of a gigabyte, in a file of a megabyte."""
    with dataset(path, class_names=()) as file:
        n = 2**30
        settings = {"shape": (n,), "dtype": np.uint8, "chunks": (n // 8,), "compression": 9}
        text = anew(file, "test/captions/text", **settings)
        for place in range(0, n, n // 8):
            text.id.write_direct_chunk((place,), packed_zeros(n // 8))
        file["test/captions/ends"][-1] = n


WHOLE = [rows_of_one_heap_entry, a_block_before_it, a_heap_in_a_circle, captions_that_are_a_bomb]


def example_set(folder: Path) -> Path:
    examples = ExampleSet(folder, {"key": 1}, n=4, block_size=4)
    for number in examples.missing():
        examples.write_block(number, {"label": np.arange(4)})
    examples.finish()
    return examples.path


def samples_that_are_not_there(path: Path) -> None:
    with h5py.File(path, "a") as file:
        anew(file, "label", shape=(10**12,), dtype=np.int64, chunks=(4096,))


def test_every_one_is_refused_within_bounds(tmp_path: Path, other: Start) -> None:
    folder = tmp_path / "datasets"
    folder.mkdir()
    for spoil in ARRAYS:
        with dataset(folder / f"{spoil.__name__}.h5", image_size=4) as file:
            spoil(file)
    for spoil_path in WHOLE:
        spoil_path(folder / f"{spoil_path.__name__}.h5")
    samples_that_are_not_there(example_set(tmp_path / "examples"))
    outcomes = [line.split("|") for line in other(READING).finish().splitlines()]
    assert len(outcomes) == len(ARRAYS) + len(WHOLE) + 1
    assert [line for line in outcomes if line[4] != "refused"] == []
    assert [line for line in outcomes if float(line[2]) > 300] == []  # megabytes
    assert [line for line in outcomes if float(line[3]) > 20] == []  # seconds


def test_a_pipe_is_no_file(tmp_path: Path, other: Start) -> None:
    (tmp_path / "datasets").mkdir()
    os.mkfifo(tmp_path / "datasets" / "pipe.h5")
    assert other(READING).finish().endswith("|refused\n")


UNSPOILT: dict[str, dict[str, Any]] = {
    "arrays": {"image_size": 4},
    "encoded": {},
    "captions": {"class_names": ()},
}


@pytest.mark.parametrize("name", UNSPOILT)
def test_the_same_file_unspoilt_is_read(tmp_path: Path, other: Start, name: str) -> None:
    (tmp_path / "datasets").mkdir()
    dataset(tmp_path / "datasets" / "toy.h5", **UNSPOILT[name]).close()
    assert "|served" in other(READING).finish()
