"""From the store to the pixels that are attacked: 8-bit images of one size, (B, S, S, 3). Imports no torch itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from store.datasets import Dataset

from .decoding import decoded

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]


def load_pixels(
    dataset: Dataset, split: str, indices: Sequence[int] | npt.NDArray[np.int64], *, threads: int | None = None
) -> Pixels:
    """The images at `indices`, (B, S, S, 3) in 0..255. Where the store has them at another size, they are resized on
    the shorter side (bilinear, as torchvision's Resize) and cropped at the centre, before anything is attacked; in so
    many `threads`, or as many as suit the machine."""
    images = dataset.images(split, indices)
    size, resize = dataset.info.pixel_size, dataset.info.resize
    if dataset.info.image_size == size:
        return np.stack(images)

    def decode(data: bytes | Pixels) -> Pixels:
        if isinstance(data, bytes):
            pixels = decoded(data, f"an image of {dataset.info.name}", oriented=dataset.info.oriented)
        else:
            pixels = Image.fromarray(data)
        if resize:
            pixels = _resized(pixels, resize)
        return np.asarray(_centre(pixels, size))

    if threads == 1:
        return np.stack([*map(decode, images)])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(decode, images)))


class HeldPixels:
    """The images at `indices`, each of which is read once, when it is first asked for, and kept in memory."""

    def __init__(self, dataset: Dataset, split: str, indices: npt.NDArray[np.int64]) -> None:
        side = dataset.info.pixel_size
        self._dataset, self._split, self._numbers = dataset, split, np.sort(indices)
        self._pixels = np.empty((len(indices), side, side, 3), np.uint8)
        self._there = np.zeros(len(indices), bool)

    def __call__(self, numbers: npt.NDArray[np.int64]) -> Pixels:
        """As `load_pixels` gives them."""
        rows = np.searchsorted(self._numbers, numbers)
        new = ~self._there[rows]
        if new.any():
            self._pixels[rows[new]] = load_pixels(self._dataset, self._split, numbers[new])
            self._there[rows[new]] = True
        return self._pixels[rows]


def to_unit(pixels: Pixels | Tensor, device: torch.device) -> Tensor:
    """(B, S, S, 3) in 0..255 -> (B, 3, S, S) in [0, 1] on `device`. The CPU divides, which rounds k/255 as the store
    reads it back; another device looks the quotients up, and takes a quarter of the bytes over."""
    import torch

    levels = (torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels).permute(0, 3, 1, 2)
    if device.type == "cpu":
        return levels.contiguous().float().div_(255)
    return looked_up(levels.to(device, non_blocking=True))


def looked_up(levels: Tensor) -> Tensor:
    """k/255 of each k in 0..255, as the CPU divides, on the device of `levels`."""
    import torch

    quotients = torch.arange(256, dtype=torch.float32).div_(255).to(levels.device)
    return quotients[levels.contiguous().int()]


def _resized(image: Image.Image, side: int) -> Image.Image:
    """The image with its shorter side at `side`, as torchvision's Resize makes it."""
    short, long = sorted(image.size)
    if short == side:
        return image
    other = int(side * long / short)
    size = (side, other) if image.width <= image.height else (other, side)
    return image.resize(size, Image.Resampling.BILINEAR)


def _centre(image: Image.Image, side: int) -> Image.Image:
    """The square of `side` pixels in its middle, black where the image ends, as torchvision's CenterCrop cuts it."""
    pad_left, pad_top = max(0, side - image.width) // 2, max(0, side - image.height) // 2
    left = round((max(image.width, side) - side) / 2) - pad_left
    top = round((max(image.height, side) - side) / 2) - pad_top
    return image.crop((left, top, left + side, top + side))
