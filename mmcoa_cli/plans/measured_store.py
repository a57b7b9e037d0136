"""The store that is measured in: the models of another one, datasets of noise, and some images of real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from store.dataset_writing import DatasetWriter

from .. import catalog
from ..datasets.library import attacked_at, open_dataset
from ..datasets.pixels import Pixels, load_pixels
from ..models.stored_lm import WORDS
from ..settings import Home

WEIGHED = 32  # images of a dataset


def link_models(own: Home, home: Home) -> None:
    """The models of `home`; of masked LMs the files one by one, so that what they say is not remembered there."""
    own.models.mkdir()
    for part in home.models.absolute().iterdir():
        if part.name != own.mlms.name:
            (own.models / part.name).symlink_to(part)
    for file in home.mlms.absolute().glob("*/*") if home.mlms.exists() else ():
        if file.name != WORDS:
            place = own.mlms / file.parent.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)


def dataset_of(classes: int) -> str:
    return f"noise{classes}"


def noise(images: int, side: int) -> Pixels:
    return np.random.default_rng(0).integers(256, size=(images, side, side, 3), dtype=np.uint8)


def taken_from(name: str, home: Home, side: int) -> Pixels:
    """Some images of a dataset in the store, from all over it."""
    with attacked_at(open_dataset(name, home), side) as dataset:
        split = "test" if "test" in dataset.info.splits else "train"
        numbers = np.linspace(0, dataset.info.splits[split] - 1, WEIGHED).round().astype(np.int64)
        return load_pixels(dataset, split, numbers)


def write(home: Home, name: str, class_names: Sequence[str], images: Mapping[str, Pixels]) -> None:
    """A dataset of these images, by split, whose classes take turns."""
    side = next(iter(images.values())).shape[1]
    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=class_names, pixel_size=side, resize=None,
        template=catalog.TEMPLATE, source="measuring", image_size=side,
    )  # fmt: skip
    with writer as out:
        for split, some in images.items():
            for number, image in enumerate(some):
                out.add(split, image, number % len(class_names))


def bytes_of_one(path: Path) -> tuple[float, float]:
    """Bytes of a set of one image as such, and of the image."""
    sizes = list[int]()
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda _, part: sizes.append(part.id.get_storage_size() if isinstance(part, h5py.Dataset) else 0)
        )
    return float(path.stat().st_size - sum(sizes)), float(sum(sizes))
