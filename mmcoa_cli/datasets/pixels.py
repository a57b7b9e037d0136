"""From the store to the pixels that are attacked: 8-bit images of one size, (B, S, S, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from store.datasets import Dataset

from .decoding import decoded

if TYPE_CHECKING:  # the keys of what is stored need neither
    import torch
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]


def load_pixels(dataset: Dataset, split: str, indices: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
    """The images at `indices`, (B, S, S, 3) in 0..255. Where the store has them at another size, they are resized on
    the shorter side (bilinear, as torchvision's Resize) and cropped at the centre, before anything is attacked."""
    images = dataset.images(split, indices)
    size, resize = dataset.info.pixel_size, dataset.info.resize
    if dataset.info.image_size == size:
        return np.stack(images)
    from torchvision.transforms import functional as transforms

    def decode(data: bytes | Pixels) -> Pixels:
        if isinstance(data, bytes):
            pixels = decoded(data, f"an image of {dataset.info.name}", oriented=dataset.info.oriented)
        else:
            pixels = Image.fromarray(data)
        if resize:
            pixels = transforms.resize(pixels, [resize])
        return np.asarray(transforms.center_crop(pixels, [size]))

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(decode, images)))


def attacked_at(dataset: Dataset, size: int | None) -> Dataset:
    """`dataset`, its images attacked at `size` pixels instead of its own size: after Resize(size * 256/224) and
    CenterCrop(size), as images of varying size are at 224."""
    if size is not None and size != dataset.info.pixel_size:
        resize = None if size == dataset.info.image_size else round(size * 256 / 224)
        dataset.info = replace(dataset.info, pixel_size=size, resize=resize)
    return dataset


def to_unit(pixels: Pixels, device: torch.device) -> Tensor:
    """(B, S, S, 3) in 0..255 -> (B, 3, S, S) in [0, 1] on `device`; divided on the CPU, where k/255 is rounded as the
    store reads it back."""
    import torch

    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous().to(device)
