"""Reading data: from JPEGs of a usual size, and from images that lie in the store as pixels, to what is attacked."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from store.datasets import Dataset

from ..datasets.pixels import Pixels, load_pixels, to_unit
from .bench import SPLIT, Bench
from .race import FLOOR, OURS, RELEASE, Entrant, Race

IMAGES, FEW = 32, 8
WIDTH, HEIGHT, SIDE, RESIZE = 500, 375, 224, 256  # as ImageNet's images are, and are attacked
NAMES = ("one", "two")
CPU = torch.device("cpu")


def races(bench: Bench) -> Iterator[Race]:
    number = FEW if bench.asked.quick else IMAGES
    encoded = [_jpeg(seed) for seed in range(number)]
    yield _encoded(bench, encoded)
    yield _stored(bench, np.random.default_rng(0).integers(256, size=(number, SIDE, SIDE, 3), dtype=np.uint8))


def _encoded(bench: Bench, images: Sequence[bytes]) -> Race:
    dataset = bench.dataset(images, NAMES, side=SIDE, resize=RESIZE)
    units = float(len(images))
    return Race(
        "data", f"a JPEG of {WIDTH} x {HEIGHT} to {SIDE} pixels", "image",
        [
            Entrant(OURS, lambda _: _read(dataset), units),
            Entrant(FLOOR, lambda _: [Image.open(io.BytesIO(data)).load() for data in images], units),
            Entrant(RELEASE, lambda _: by_torchvision([Image.open(io.BytesIO(data)) for data in images]), units),
        ],
    )  # fmt: skip


def _stored(bench: Bench, pixels: Pixels) -> Race:
    dataset = bench.dataset(list(pixels), NAMES, side=SIDE, resize=None, image_size=SIDE)
    values, units = SIDE * SIDE * 3, float(len(pixels))
    return Race(
        "data", f"stored pixels, {SIDE} x {SIDE}", "image",
        [
            Entrant(OURS, lambda _: _read(dataset), units),
            bench.machine.copies(values * (1 + 4)),  # a byte is read, a float is written
            Entrant(RELEASE, lambda _: by_torchvision([Image.fromarray(image) for image in pixels]), units),
        ],
    )  # fmt: skip


def _read(dataset: Dataset) -> torch.Tensor:
    return to_unit(load_pixels(dataset, SPLIT, np.arange(dataset.info.splits[SPLIT])), CPU)


def by_torchvision(images: Sequence[Image.Image]) -> torch.Tensor:
    """`preprocess224` of the released code, in one process; its loader has 64 of them."""
    from torchvision import transforms

    steps = [transforms.Resize(RESIZE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
    change = transforms.Compose(steps if images[0].size != (SIDE, SIDE) else steps[2:])
    return torch.stack([change(image.convert("RGB")) for image in images])


def _jpeg(seed: int) -> bytes:
    """Coarse shapes under a little noise: as many bytes as a photograph has, about 60 kB."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(256, size=(HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8))
    shapes = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = shapes + rng.normal(scale=8, size=shapes.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()
