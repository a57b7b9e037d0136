"""Every row of parquet files has its own label, or they are refused; and memory is bounded by what the files hold."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import store
from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.formats.layouts import recognised
from store.errors import UserError

Make = Callable[..., Any]
SHADE = {"cat": 10, "dog": 20, "frog": 30}  # of all pixels of a class's images
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def shade(name: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), SHADE[name], np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(
    labels: Any, *, names: Sequence[str] = (), of: Sequence[str] = ("cat", "dog", "frog"), **columns: Any
) -> bytes:
    """A file with an image of each of the classes `of`, and these labels."""
    images = pa.array([{"bytes": shade(name), "path": None} for name in of], STRUCT)
    table = pa.table({"image": images, "label": labels})
    feature = {"names": list(names), "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
    return saved(table.replace_schema_metadata({"huggingface": json.dumps(info)}))


def saved(table: pa.Table, **how: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **how)
    return buffer.getvalue()


def read(place: Path, **row: Any) -> dict[str, list[str]]:
    """The classes that each split's labels say, once every image is seen to be of that class."""
    with recognised(DatasetRow("x", **row), place, scratch=place.parent) as found:
        splits: dict[str, list[str]] = {}
        images: list[bytes] = []
        wanted: list[bytes] = []
        for split, image, label, _ in found.samples:
            wanted.append(shade(name := found.row.class_names[label]))
            images.append(image.read())  # type: ignore[union-attr]
            splits.setdefault(split, []).append(name)
        assert images == wanted
        return splits


ALL = ["cat", "dog", "frog"]


def test_each_file_has_the_names_of_its_own(laid: Make) -> None:
    folder = laid("x", {
        "test-00000-of-00001.parquet": shard([0, 1, 2], names=ALL),
        "train-00000-of-00002.parquet": shard([2, 1, 0], names=["frog", "dog", "cat"]),
        "train-00001-of-00002.parquet": shard([1, 0, 2], names=["dog", "cat", "frog"]),
    })  # fmt: skip
    assert read(folder) == {"test": ALL, "train": ALL + ALL}


def test_names_that_are_given_are_paired_with_the_first_files(laid: Make) -> None:
    files = {"test.parquet": shard([0, 1], names=["n1", "n2"], of=["cat", "dog"]),
             "train.parquet": shard([1, 0], names=["n2", "n1"], of=["cat", "dog"])}  # fmt: skip
    assert read(laid("x", files), class_names=("cat", "dog")) == {"test": ["cat", "dog"], "train": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(["cat", "dog", "frog"], pa.string()), (["cat", "dog", "frog"], pa.large_string()), ([0, 1, 2], pa.uint8()),
     (["cat", "dog", "frog"], pa.dictionary(pa.int8(), pa.string())), ([0, 1, 2], pa.int16())],
)  # fmt: skip
def test_labels_of_any_type_that_is_one(labels: Any, kind: Any, laid: Make) -> None:
    data = shard(pa.array(labels, kind), names=ALL)
    assert read(laid("x", {"test.parquet": data})) == {"test": ALL}


def test_names_are_in_the_order_of_their_numbers(laid: Make) -> None:
    labels = [f"class{n}" for n in (10, 2, 1)]
    with recognised(DatasetRow("x"), laid("x", {"a.parquet": shard(labels)}), scratch=Path()) as found:
        assert found.row.class_names == ("class1", "class2", "class10")


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (pa.array([[0], [1], [2]]), "the column label is of the type list<"),
        (pa.array([0.0, 1.0, 2.0]), "the column label is of the type double, which is no label"),
        (pa.array([True, False, True]), "the column label is of the type bool"),
        (pa.array([None, None, None]), "the column label is of the type null"),
        (pa.array([b"a", b"b", b"c"]), "the column label is of the type binary"),
        (pa.array([0, 1, None]), "test.parquet, row 2: None is no label"),
        (pa.array([0, -1, 1]), "test.parquet, row 1: -1 is no label in 0..2"),
        (pa.array([1, 2, 3]), "test.parquet, row 2: 3 is no label in 0..2"),
        (pa.array(["cat", "", "frog"]), "test.parquet, row 1: '' is no"),
        (pa.array(["cat", "cow", "frog"]), "'cow' is no class"),
        (pa.array(["cat", "x" * 5000, "frog"]), "test.parquet, row 1: its label has 5,000 characters"),
    ],
)
def test_labels_that_are_none(labels: Any, line: str, laid: Make) -> None:
    with pytest.raises(UserError) as caught:
        read(laid("x", {"test.parquet": shard(labels, names=ALL)}))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint and len(str(caught.value)) < 300


def test_two_columns_of_labels_are_refused(laid: Make) -> None:
    table = pq.read_table(io.BytesIO(shard([0, 1, 2], names=ALL))).append_column("class", pa.array([2, 1, 0]))
    with pytest.raises(UserError, match="has the label columns label and class"):
        read(laid("x", {"test.parquet": saved(table)}))


def test_what_files_differ_in_is_named(laid: Make) -> None:
    first = shard([0, 1, 2], names=ALL)
    renamed = pq.read_table(io.BytesIO(first)).rename_columns(["img", "label"])
    cases = {
        "b.parquet has the class 'cow', and a.parquet does not": shard([0, 1, 2], names=[*ALL, "cow"]),
        "a.parquet has the class 'frog', and b.parquet does not": shard([0, 1, 2], names=["cat", "dog", "cow"]),
        "a.parquet has the class 'cat', and b.parquet does not": shard([0, 1, 2]),
        "the types of a.parquet are bytes within, numbers, of b.parquet bytes within, names": shard(ALL, names=ALL),
        "the columns of a.parquet are image, label, of b.parquet img, label": saved(renamed),
    }
    for number, (line, second) in enumerate(cases.items()):
        with pytest.raises(UserError) as caught:
            read(laid(str(number), {"a.parquet": first, "b.parquet": second}))
        assert line in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "line"),
    [
        (["big/test.parquet", "small/test.parquet"], "big/ (big/test.parquet), small/ (small/test.parquet)"),
        (["big/train/0.parquet", "small/test/0.parquet"], "several configurations"),
        (["a/0.parquet", "b/0.parquet"], "several configurations"),
        (["test.parquet", "small/test.parquet"], "several configurations"),
        (["train-test-0.parquet"], "names the splits test and train"),
        (["test/train-0.parquet"], "is it train or test?"),
    ],
)
def test_files_that_are_no_one_dataset(paths: list[str], line: str, laid: Make) -> None:
    with pytest.raises(UserError) as caught:
        read(laid("x", dict.fromkeys(paths, shard([0, 1, 2], names=ALL))))
    assert line in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], {"train": 3, "test": 3}),
        (["default/train/0000.parquet", "default/test/0000.parquet"], {"train": 3, "test": 3}),
        (["birds-train/0.parquet", "birds-test/0.parquet"], {"train": 3, "test": 3}),
        (["TRAIN.PARQUET", "Test.parquet"], {"train": 3, "test": 3}),
        (["my-test/train-0.parquet", "my-test/validation-0.parquet"], {"train": 3, "test": 3}),
        (["0000.parquet", "0001.parquet"], {"test": 6}),
        (["train-0.parquet", "test-0.parquet", "extra-0.parquet"], {"train": 3, "test": 3}),
    ],
)
def test_splits_are_the_names_of_files_and_folders(paths: list[str], splits: dict[str, int], laid: Make) -> None:
    folder = laid("x", dict.fromkeys(paths, shard([0, 1, 2], names=ALL)))
    assert {split: len(names) for split, names in read(folder).items()} == splits


def test_configurations_that_the_readme_names(laid: Make) -> None:
    card = """---
configs:
- config_name: large
  data_files:
  - split: test
    path: large-*
- config_name: small
  data_files: {test: small-test.parquet}
---
# Pets
"""
    files = {f"{name}-test.parquet": shard([0, 1, 2], names=ALL) for name in ("large", "small")}
    with pytest.raises(UserError, match=r"2 configurations: large \(large-test.parquet\), small"):
        read(laid("x", {**files, "README.md": card.encode()}))
    del files["small-test.parquet"]
    assert read(laid("y", {**files, "README.md": card.encode()})) == {"test": ALL}
    for number, text in enumerate(
        [b"---\n[\n---", b"---\nconfigs: 3\n---", b"--- \xff\n---\n", b"---\na: &a [*a]\nconfigs: *a\n---"]
    ):
        assert read(laid(f"z{number}", {**files, "README.md": text})) == {"test": ALL}


def test_files_beside_are_named(image: Make, laid: Make) -> None:
    files = {"train.parquet": shard([0, 1, 2], names=ALL), "test.parquet": shard([0, 1, 2], names=ALL)}
    more = {"extra.parquet": files["test.parquet"], "logo.png": image(1), "README.md": b"x"}
    with recognised(DatasetRow("x"), laid("x", {**files, **more}), scratch=Path()) as found:
        assert found.count == len(list(found.samples)) == 6
        assert found.left_out == {
            "names no split, as others do": ("extra.parquet",), "beside the parquet files": ("logo.png",),
            "no image": ("README.md",),
        }  # fmt: skip


def repeated(rows: int, size: int) -> pa.Table:
    """One image of so many bytes again and again, which a dictionary packs into next to nothing."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([bytes(size)], pa.binary()))
    return pa.table({"image": images, "label": pa.array(["cat", *["dog"] * (rows - 1)])})


def of_one(image: bytes, rows: int, *, label: str = "dog", **how: Any) -> bytes:
    """Pages of the same again and again, packed."""
    table = pa.table({"image": pa.array([image] * rows, pa.binary()), "label": ["cat", *[label] * (rows - 1)]})
    return saved(table, use_dictionary=False, compression="zstd", write_statistics=False, store_schema=False, **how)


def lying() -> bytes:
    """A dictionary page whose header says that it unpacks to 128 times what it has."""
    whole = bytearray(saved(repeated(10, 1 << 20), compression="zstd", write_statistics=False, store_schema=False))
    place = whole.index(b"\x15\x04\x15") + 3  # its type is 2; then comes the number, seven bits a byte
    length = next(n for n in range(5) if whole[place + n] < 128) + 1
    whole[place : place + length] = bytes([0xFE, *[0xFF] * (length - 2), 0x7F])
    return bytes(whole)


HOSTILE: dict[str, Callable[[], bytes]] = {  # 2,100 images of a megabyte are more than one array of Arrow can hold
    "a dictionary of one image": lambda: saved(repeated(4_000, 60 << 20), compression="zstd", store_schema=False),
    "a million rows": lambda: saved(repeated(1_000_000, 10), compression="zstd", store_schema=False),
    "pages of zeros": lambda: of_one(bytes(1 << 20), 300),
    "prefixes": lambda: of_one(bytes(1 << 20), 2100, column_encoding={"image": "DELTA_BYTE_ARRAY"}),
    "long labels": lambda: of_one(b"x", 300, label="x" * (1 << 20)),
    "a page that says more than it is": lying,
}


LIMITED = """
import resource, sys, time
from pathlib import Path
from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.formats.layouts import recognised
from store.errors import UserError
import pyarrow.parquet
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    with recognised(DatasetRow("x"), Path(sys.argv[1]), scratch=Path()) as found:
        for sample in found.samples:
            sample.image.read()
except UserError as error:
    print("refused:", str(error).replace(chr(10), "LINES"), bool(error.hint))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
print(time.process_time() - started)
"""


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_small_file_takes_little_memory_and_time(make: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "x.parquet")], capture_output=True, text=True,
        cwd=Path(store.__file__).parents[1],
    )  # fmt: skip
    refused, grown, seconds = done.stdout.splitlines()
    assert refused.startswith("refused: ") and refused.endswith(" True") and "LINES" not in refused
    assert int(grown) < 700 and float(seconds) < 20
