"""Datasets as parquet files, in the layout of the Hugging Face hub and as its library writes them."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.models import ResNet50_Weights

from mmcoa_cli import catalog
from mmcoa_cli.catalog import DatasetRow
from store.datasets import Dataset
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
ROWS = catalog.datasets()
BIRDS = ("wren", "robin", "grey_heron")


def parquet(
    images: Sequence[Any], labels: Sequence[Any], *, names: Any = None, columns: tuple[str, str] = ("image", "label"),
    more: dict[str, list[Any]] | None = None,
) -> bytes:  # fmt: skip
    """A file with the columns and the metadata that the library `datasets` gives an image dataset."""
    image, label = columns
    structs = [
        {"bytes": data, "path": f"{n}.jpg"} if isinstance(data, bytes) else data for n, data in enumerate(images)
    ]
    kind = pa.int64() if not labels or isinstance(labels[0], int) else None
    kinds = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(structs, kinds), label: pa.array(labels, kind), **(more or {})})
    feature = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    info = {"info": {"features": {image: {"_type": "Image"}, label: feature}}}
    return written(table.replace_schema_metadata({"huggingface": json.dumps(info)}))


def written(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=3)
    return buffer.getvalue()


def jpegs(image: Make, seeds: Sequence[int], size: Any = (9, 11)) -> list[bytes]:
    return [image(seed, size, "JPEG") for seed in seeds]


def labelled(dataset: Dataset, split: str) -> list[tuple[int, bytes]]:
    count = dataset.info.splits[split]
    return list(zip(dataset.labels(split).tolist(), dataset.images(split, range(count)), strict=True))


def test_imagenet_of_the_hub(image: Make, laid: Make, fetched: Make) -> None:
    """Names as other libraries give ImageNet's classes, in the same order; test images have the label -1."""
    names = ResNet50_Weights.DEFAULT.meta["categories"]
    names = [{"Cardigan": "Cardigan, Cardigan Welsh corgi"}.get(name, name) for name in names]  # 474: the garment
    train, val, test = jpegs(image, range(10)), jpegs(image, (20, 21)), jpegs(image, (30,))
    labels = [5, 999, 0, 744, 5, 6, 7, 8, 134, 517]
    folder = laid("x", {
        "data/train-00000-of-00002.parquet": parquet(train[:7], labels[:7], names=names),
        "data/train-00001-of-00002.parquet": parquet(train[7:], labels[7:], names=names),
        "data/validation-00000-of-00001.parquet": parquet(val, [1, 837], names=names),
        "data/test-00000-of-00001.parquet": parquet(test, [-1], names=names),
        "README.md": b"# ImageNet",
    })  # fmt: skip
    dataset = fetched("imagenet", folder)
    assert labelled(dataset, "train") == list(zip(labels, train, strict=True))
    assert labelled(dataset, "test") == list(zip([1, 837], val, strict=True))
    assert sorted(dataset.info.splits) == ["test", "train"]
    assert dataset.info.part("test") == "2 of 50,000 test images, 2 of 1,000 classes"


def test_tinyimagenet_of_the_hub_names_its_classes_by_wnid(image: Make, laid: Make, fetched: Make) -> None:
    names = list(ROWS["tinyimagenet"].folders)
    train, valid = jpegs(image, (1, 2), 64), jpegs(image, (3,), 64)
    files = {
        "data/train-00000-of-00001-1359597a978bc4fa.parquet": parquet(train, [199, 3], names=names),
        "data/valid-00000-of-00001-70d52db3c749a935.parquet": parquet(valid, [7], names=names),
    }
    dataset = fetched("tinyimagenet", laid("x", files))
    assert dataset.labels("train").tolist() == [199, 3]
    assert dataset.labels("test").tolist() == [7]
    expected = np.asarray(Image.open(io.BytesIO(valid[0])).convert("RGB"))
    np.testing.assert_array_equal(dataset.images("test", [0])[0], expected)


def test_cifar100_of_the_hub_has_fine_and_coarse_labels(image: Make, laid: Make, fetched: Make) -> None:
    names = [name.replace(" ", "_") for name in ROWS["cifar100"].class_names]
    data = parquet(
        [image(1, 32)], [58], names=names, columns=("img", "fine_label"), more={"coarse_label": pa.array([3])}
    )
    dataset = fetched("cifar100", laid("x", {"cifar100/test-00000-of-00001.parquet": data}))
    assert dataset.info.class_names[dataset.labels("test")[0]] == "pickup truck"


def test_food101_of_the_hub(image: Make, laid: Make, fetched: Make) -> None:
    names = [name.replace(" ", "_") for name in ROWS["food101"].class_names]
    files = {
        "data/train-00000-of-00008.parquet": parquet(jpegs(image, (1, 2)), [6, 100], names=names),
        "data/validation-00000-of-00003.parquet": parquet(jpegs(image, (3,)), [0], names=names),
    }
    dataset = fetched("food101", laid("x", files))
    assert dataset.info.splits == {"train": 2, "test": 1}
    assert dataset.labels("train").tolist() == [6, 100]


def test_classes_in_another_order_get_the_labels_of_their_names(image: Make, laid: Make, fetched: Make) -> None:
    names = list(reversed(ROWS["dtd"].class_names))
    dataset = fetched("dtd", laid("x", {"test.parquet": parquet(jpegs(image, (1, 2)), [0, 46], names=names)}))
    assert dataset.labels("test").tolist() == [46, 0]


@pytest.mark.parametrize("names", [["a", "b"], [*ROWS["dtd"].class_names[:46], "other", "more"]])
def test_the_classes_of_another_dataset_are_refused(names: list[str], image: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match="is no class of dtd"):
        fetched("dtd", laid("x", {"test.parquet": parquet(jpegs(image, (1,)), [0], names=names)}))


@pytest.mark.parametrize("in_archive", [False, True])
def test_a_dataset_of_ones_own(in_archive: bool, image: Make, laid: Make, zip_of: Make, fetched: Make) -> None:
    files = {
        "data/train-00000-of-00002.parquet": parquet([image(1), image(2)], [2, 0], names=list(BIRDS)),
        "data/train-00001-of-00002.parquet": parquet([image(3)], [1], names=list(BIRDS)),
        "data/validation-00000-of-00001.parquet": parquet([image(4)], [1], names=list(BIRDS)),
    }
    folder = laid("x", {"x.zip": zip_of(files)} if in_archive else files)
    dataset = fetched(DatasetRow("birds"), folder / "x.zip" if in_archive else folder)
    assert dataset.info.class_names == BIRDS
    assert dataset.info.splits == {"train": 3, "test": 1}
    assert dataset.labels("train").tolist() == [2, 0, 1]
    assert (dataset.info.image_size, dataset.info.pixel_size, dataset.info.resize) == (8, 8, None)
    assert dataset.info.part("test") == "1 of 3 classes"


def test_images_of_varying_size_stay_encoded(image: Make, laid: Make, fetched: Make) -> None:
    images = [image(1, 9, "JPEG"), image(2, (9, 12), "JPEG")]
    dataset = fetched(DatasetRow("birds"), laid("x", {"test.parquet": parquet(images, [0, 2], names=list(BIRDS))}))
    assert dataset.images("test", [0, 1]) == images
    assert (dataset.info.pixel_size, dataset.info.resize) == (224, 256)


def test_labels_that_are_names(image: Make, laid: Make, fetched: Make) -> None:
    labels = ["wren", "robin", "wren"]
    files = {"test.parquet": parquet([image(1), image(2), image(3)], labels)}
    own = fetched(DatasetRow("birds"), laid("x", files))
    assert own.info.class_names == ("robin", "wren")
    assert own.labels("test").tolist() == [1, 0, 1]
    ours = {"test.parquet": parquet([image(1, 32), image(2, 32)], ["truck", "Airplane"])}
    assert fetched("cifar10", laid("y", ours)).labels("test").tolist() == [9, 0]


@pytest.mark.parametrize("metadata", [True, False])
def test_numbers_without_names_ask_for_names(metadata: bool, image: Make, laid: Make, fetched: Make) -> None:
    data = parquet([image(1), image(2)], [0, 1])
    if not metadata:
        data = written(pq.read_table(io.BytesIO(data)).replace_schema_metadata(None))
    folder = laid("x", {"test.parquet": data})
    with pytest.raises(UserError, match="x numbers its classes and does not name them") as caught:
        fetched(DatasetRow("birds"), folder)
    assert "mmcoa fetch birds --from PATH --class-names FILE" in caught.value.hint
    named = fetched(DatasetRow("birds", class_names=("wren", "robin")), folder)
    assert named.info.class_names == ("wren", "robin")


@pytest.mark.parametrize("label", [3, -1, None])
def test_a_label_that_is_none(label: int | None, image: Make, laid: Make, fetched: Make) -> None:
    data = parquet([image(1), image(2)], [0, label], names=list(BIRDS))
    with pytest.raises(UserError, match=rf"test\.parquet, row 1: {label} is no label in 0\.\.2"):
        fetched(DatasetRow("birds"), laid("x", {"test.parquet": data}))


@pytest.mark.parametrize("empty", [None, {"bytes": None, "path": "/etc/passwd"}])
def test_a_row_without_an_image_opens_no_file_that_it_names(empty: Any, image: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match="without an image"):
        fetched(DatasetRow("birds"), laid("x", {"test.parquet": parquet([image(1), empty], [0, 0], names=list(BIRDS))}))


def test_images_as_plain_bytes(image: Make, laid: Make, fetched: Make) -> None:
    data = written(pa.table({"jpg": [image(1), image(2)], "cls": ["wren", "robin"]}))
    assert fetched(DatasetRow("birds"), laid("x", {"a.parquet": data})).labels("test").tolist() == [1, 0]


@pytest.mark.parametrize(("columns", "line"), [(("photo", "label"), "no image"), (("image", "kind"), "no label")])
def test_columns_of_other_names(columns: tuple[str, str], line: str, image: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match=f"x: a.parquet has {line} column among {columns[0]}, {columns[1]}"):
        fetched(DatasetRow("birds"), laid("x", {"a.parquet": parquet([image(1)], [0], columns=columns)}))


def test_damaged_parquet(image: Make, laid: Make, fetched: Make) -> None:
    whole = parquet([image(n) for n in range(5)], [0, 1, 2, 0, 1], names=list(BIRDS))
    for number, place in enumerate([0, 4, 100, len(whole) // 2, len(whole) - 60, len(whole) - 9, len(whole) - 1]):
        damaged = [whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]]
        for kind, data in enumerate(damaged):
            try:
                fetched(DatasetRow("birds"), laid(f"x{number}-{kind}", {"test.parquet": data}))
            except UserError as error:
                assert "\n" not in str(error) and error.hint


@pytest.mark.parametrize(
    "metadata", [b"", b"[", b"[" * 100_000, b"null", b'{"info": 1}', b'{"info": {"features": {"label": {"names": 1}}}}']
)
def test_metadata_that_is_none(metadata: bytes, image: Make, laid: Make, fetched: Make) -> None:
    table = pa.table({"image": [image(1), image(2)], "label": ["wren", "robin"]})
    data = written(table.replace_schema_metadata({"huggingface": metadata}))
    assert fetched(DatasetRow("birds"), laid("x", {"a.parquet": data})).info.class_names == ("robin", "wren")


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile",)


def test_nothing_that_a_parquet_file_holds_is_run(
    image: Make, laid: Make, fetched: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickles where pyarrow, NumPy or the library `datasets` once took some, and as images and labels."""
    monkeypatch.chdir(tmp_path)
    evil = pickle.dumps(Hostile())
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil}
    tables = [
        pa.table({"image": [image(1)], "label": [evil]}),
        pa.table({"image": [evil], "label": ["wren"]}),
        pa.table({"image": [image(1)], "label": ["wren"]}).replace_schema_metadata({"huggingface": evil}),
        pa.table(
            {"image": [image(1)], "label": ["wren"]},
            schema=pa.schema([pa.field("image", pa.binary(), metadata=extension), pa.field("label", pa.string())]),
        ),
    ]
    for number, table in enumerate(tables):
        try:
            fetched(DatasetRow("birds"), laid(str(number), {"a.parquet": written(table)}))
        except UserError as error:
            assert "\n" not in str(error)
    with pytest.raises(UserError):
        fetched(DatasetRow("birds"), laid("x", {"a.parquet": evil}))
    assert not (tmp_path / "hostile").exists()


@pytest.mark.parametrize(
    ("values", "line"),
    [([["a", "b", "c", "d", "e"]], ""), (["one line"], "1 captions, not 5"), ([None, ["a"] * 5], "captions, not 5")],
)
def test_captions_in_parquet(values: list[Any], line: str, image: Make, laid: Make, fetched: Make) -> None:
    images = [image(n, (20, 30), "JPEG") for n in range(len(values))]
    data = written(pa.table({"image": images, "captions": values}))
    folder = laid("x", {"data/test-00000-of-00001.parquet": data})
    if line:
        with pytest.raises(UserError, match=line):
            fetched("mscoco", folder)
    else:
        assert fetched("mscoco", folder).captions("test") == values


def test_two_classes_of_one_name_in_prompts(image: Make, laid: Make, fetched: Make) -> None:
    data = parquet([image(1)], [0], names=["big-dog", "Big_Dog"])
    with pytest.raises(UserError, match="same name in prompts") as caught:
        fetched(DatasetRow("dogs"), laid("x", {"a.parquet": data}))
    assert "--class-names" in caught.value.hint


def test_a_single_file(image: Make, tmp_path: Path, fetched: Make) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    path.write_bytes(parquet(jpegs(image, range(4)), [0, 1, 1, 0], names=["wren", "robin"]))
    with fetched(DatasetRow("birds"), path) as dataset:
        assert dataset.info.class_names == ("wren", "robin")
        assert dataset.labels("train").tolist() == [0, 1, 1, 0]
