"""Readers of the datasets' own archives, on miniatures in the true layout."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from mmcoa_cli import catalog
from mmcoa_cli.datasets.formats import readers
from mmcoa_cli.datasets.formats.readers import EMBEDDED, READERS, cifar, digits
from mmcoa_cli.datasets.sources.archives import Files
from store.errors import UserError

CIFAR10, CIFAR100 = catalog.datasets()["cifar10"], catalog.datasets()["cifar100"]


def files_of(contents: Mapping[str, bytes]) -> Files:
    return Files(
        "x.tar.gz", {path: len(contents[path]) for path in sorted(contents)}, lambda path: io.BytesIO(contents[path])
    )


def test_every_row_of_the_catalog_names_a_reader() -> None:
    for row in catalog.datasets().values():
        assert not (row.reader and row.torchvision)
        assert row.reader in (EMBEDDED if row.embedded else {*READERS, ""})
        assert row.torchvision is None or row.torchvision.name in torchvision.datasets.__all__


def test_cifar100_has_the_names_and_order_of_its_own_archive() -> None:
    names = CIFAR100.class_names
    assert len(names) == 100
    assert list(names) == sorted(names)
    assert (names[0], names[1], names[58], names[99]) == ("apple", "aquarium fish", "pickup truck", "worm")


def test_digits_are_those_that_scikit_learn_loads() -> None:
    data = load_digits()
    images, labels = readers._load_digits()
    np.testing.assert_array_equal(images, data.images)
    np.testing.assert_array_equal(labels, data.target)


def test_digits_are_stratified_and_the_same_every_time() -> None:
    row = catalog.datasets()["digits"]
    samples = list(digits(row))
    for split, count in row.splits.items():
        assert sum(sample[0] == split for sample in samples) == count
    labels = [label for split, _, label, _ in samples if split == "test"]
    assert np.bincount(labels).tolist() == [50] * 10
    pixels = np.stack([sample[1] for sample in samples])
    assert pixels.shape == (1797, 8, 8, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    np.testing.assert_array_equal(pixels, np.stack([sample[1] for sample in digits(row)]))


def test_cifar10(cifar10_files: dict[str, bytes]) -> None:
    files = files_of(cifar10_files)
    assert READERS["cifar"].recognises(files)
    samples = list(cifar(files, CIFAR10))
    assert [split for split, _, _, _ in samples] == ["train"] * 20 + ["test"] * 4
    rng = np.random.default_rng(0)  # the seed of data_batch_1
    labels, rows = rng.integers(0, 10, 4), rng.integers(0, 256, (4, 3072), dtype=np.uint8)
    for (_, pixels, label, _), expected, row in zip(samples[:4], labels, rows, strict=True):
        assert label == expected
        np.testing.assert_array_equal(pixels, np.moveaxis(row.reshape(3, 32, 32), 0, 2))


def test_cifar100(python2_pickle: Callable[[object], bytes]) -> None:
    names = [name.replace(" ", "_").encode() for name in CIFAR100.class_names]
    contents = {"meta": {b"fine_label_names": names, b"coarse_label_names": [b"fish"]}}
    for name, label in (("train", 99), ("test", 0)):
        data = np.full((1, 3072), label, np.uint8)
        contents[name] = {b"fine_labels": [label], b"coarse_labels": [3], b"data": data, b"filenames": [b"1.png"]}
    packed = {f"cifar-100-python/{name}": python2_pickle(value) for name, value in contents.items()}
    files = files_of(packed | {"cifar-100-python/file.txt~": b""})
    assert READERS["cifar"].recognises(files)
    found = list(cifar(files, CIFAR100))
    assert [(split, int(pixels[0, 0, 0]), label) for split, pixels, label, _ in found] == [  # type: ignore[call-overload]
        ("train", 99, 99),
        ("test", 0, 0),
    ]


def test_classes_in_another_order_are_refused(cifar10_files: dict[str, bytes]) -> None:
    swapped = replace(CIFAR10, class_names=("automobile", "airplane", *CIFAR10.class_names[2:]))
    with pytest.raises(UserError, match="not those of cifar10"):
        list(cifar(files_of(cifar10_files), swapped))


@pytest.mark.parametrize(
    "content",
    [
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [1.5]},
        {b"data": np.zeros((1, 3072), np.uint8)},
        {b"data": np.zeros((1, 3071), np.uint8), b"labels": [1]},
        {b"labels": [1]},
        ["no", "dictionary"],
    ],
)
def test_a_batch_that_is_wrong(cifar10_files: dict[str, bytes], content: object) -> None:
    cifar10_files["cifar-10-batches-py/data_batch_1"] = pickle.dumps(content, protocol=4)
    with pytest.raises(UserError, match="data_batch_1"):
        list(cifar(files_of(cifar10_files), CIFAR10))


def test_an_archive_without_its_test_set(cifar10_files: dict[str, bytes]) -> None:
    del cifar10_files["cifar-10-batches-py/test_batch"]
    with pytest.raises(UserError, match="lacks test"):
        list(cifar(files_of(cifar10_files), CIFAR10))
