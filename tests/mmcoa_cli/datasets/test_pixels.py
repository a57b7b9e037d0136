"""Pixels are torchvision's, bit for bit, though torchvision is not asked; and a dataset at another size is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as published

from mmcoa_cli.datasets.library import attacked_at
from mmcoa_cli.datasets.pixels import load_pixels
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset

SIDES = ((8, 8), (20, 31), (31, 20), (9, 64), (224, 225), (256, 256), (300, 257), (333, 500), (5, 3))


def written(path: Path, images: list[np.ndarray], *, size: int, resize: int | None) -> Dataset:
    with DatasetWriter(
        path, name="x", class_names=("a", "b"), pixel_size=size, resize=resize, template="{}", source="here"
    ) as out:
        for image in images:
            saved = path.with_suffix(".png")
            Image.fromarray(image).save(saved)
            out.add("test", saved.read_bytes(), 0)
    return Dataset.open(path)


@pytest.mark.parametrize(("size", "resize"), [(8, 9), (224, 256), (7, 31), (31, 31)])
def test_resized_and_cropped_as_torchvision_does(size: int, resize: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in SIDES]
    with written(tmp_path / "x.h5", images, size=size, resize=resize) as dataset:
        ours = load_pixels(dataset, "test", range(len(images)))
    for image, pixels in zip(images, ours, strict=True):
        theirs = published.center_crop(published.resize(Image.fromarray(image), [resize]), [size])
        assert np.array_equal(pixels, np.asarray(theirs))


@pytest.mark.parametrize("size", [4, 6, 9, 30, 31])
def test_cropped_or_padded_as_torchvision_does(size: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in SIDES]
    with written(tmp_path / "x.h5", images, size=size, resize=None) as dataset:
        ours = load_pixels(dataset, "test", range(len(images)))
    for image, pixels in zip(images, ours, strict=True):
        assert np.array_equal(pixels, np.asarray(published.center_crop(Image.fromarray(image), [size])))


def test_another_size_is_another_dataset(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with written(tmp_path / "x.h5", [image], size=8, resize=9) as dataset:
        larger = attacked_at(dataset, 14)
        assert (larger.info.pixel_size, larger.info.resize) == (14, 16)
        assert (dataset.info.pixel_size, dataset.info.resize) == (8, 9)
        assert load_pixels(larger, "test", [0]).shape == (1, 14, 14, 3)
        assert load_pixels(dataset, "test", [0]).shape == (1, 8, 8, 3)
        assert attacked_at(dataset, None) is dataset and attacked_at(dataset, 8) is dataset
