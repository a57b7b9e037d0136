"""An image comes back bit for bit, whatever its floats are; bytes that are no packed image are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from store.example_packing import HEAD, pack
from store.example_packing import unpack as unpack_into

SIZES = [(1, 1), (2, 3), (8, 8), (31, 17), (96, 96), (224, 224)]
HOSTILE = np.array(
    [0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x807FFFFF, 0x7F7FFFFF, 0xBF800000],
    np.uint32,
).view(np.float32)  # NaN (quiet, signalling, negative), +-inf, -0.0, denormals, the largest, -1

Image = np.ndarray[Any, Any]


def unpack(packed: bytes, clean: Image) -> Image:
    image = np.full((3, *clean.shape[:2]), np.float32(0.5))
    unpack_into(packed, clean, image)
    return image


def clean_of(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def moved(rng: np.random.Generator, clean: Image, eps: int) -> Image:
    levels = np.clip(clean.astype(int) + rng.integers(-eps, eps + 1, clean.shape), 0, 255)
    return np.ascontiguousarray((levels / 255).astype(np.float32).transpose(2, 0, 1))


def some(rng: np.random.Generator, image: Image, values: Callable[[int], Image]) -> Image:
    """The image with a share of its pixels, drawn too, replaced."""
    chosen = rng.random(image.shape) < rng.random() ** 3
    image[chosen] = values(int(chosen.sum()))
    return image


def bits(rng: np.random.Generator, n: int) -> Image:
    return rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)


KINDS: dict[str, Callable[[np.random.Generator, Image], Image]] = {
    "on the grid": lambda rng, clean: moved(rng, clean, int(rng.integers(1, 9))),
    "on the grid, far": lambda rng, clean: moved(rng, clean, 255),
    "as it was": lambda _, clean: moved(np.random.default_rng(0), clean, 0),
    "a few anywhere": lambda rng, clean: some(rng, moved(rng, clean, 1), lambda n: rng.random(n, dtype=np.float32)),
    "all anywhere": lambda rng, clean: rng.random(moved(rng, clean, 0).shape, dtype=np.float32),
    "hostile": lambda rng, clean: some(rng, moved(rng, clean, 2), lambda n: rng.choice(HOSTILE, n)),
    "random bits": lambda rng, clean: some(rng, moved(rng, clean, 1), lambda n: bits(rng, n)),
    "beyond [0, 1]": lambda rng, clean: (moved(rng, clean, 1) - np.float32(0.5)) * np.float32(4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_an_image_comes_back_bit_for_bit(kind: str, size: tuple[int, int]) -> None:
    for seed in range(3 if size == (224, 224) else 12):
        rng = np.random.default_rng(seed)
        clean = clean_of(rng, size)
        image = KINDS[kind](rng, clean)
        back = unpack(pack(image, clean), clean)
        assert back.dtype == np.float32
        assert np.array_equal(back.view(np.uint32), image.view(np.uint32))


def test_every_float_of_a_sample_of_all_comes_back() -> None:
    """One in 3,571 of all 2^32 bit patterns, from a clean pixel of every value."""
    every = np.arange(0, 2**32, 3571, dtype=np.uint64).astype(np.uint32)
    every = every[: len(every) // 768 * 768].reshape(3, 256, -1)
    clean = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, every.shape[2], 3))
    assert np.array_equal(unpack(pack(every.view(np.float32), clean), clean).view(np.uint32), every)


def test_an_image_that_lies_otherwise_in_memory() -> None:
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (9, 12))[:, ::2]
    image = rng.random((9, 6, 3), dtype=np.float32).transpose(2, 0, 1)
    assert np.array_equal(unpack(pack(image, clean), clean), image)


def at_the_ends(rng: np.random.Generator, clean: Image, eps: int) -> Image:
    """All pixels as far as they may go, up or down, as likely."""
    levels = np.clip(clean.astype(int) + rng.choice([-eps, eps], clean.shape), 0, 255)
    return np.ascontiguousarray((levels / 255).astype(np.float32).transpose(2, 0, 1))


@pytest.mark.parametrize("eps", [1, 4, 8, 200])
def test_pixels_at_the_ends_take_a_bit_each(eps: int) -> None:
    """White and black count as ends where they are nearer."""
    rng = np.random.default_rng(eps)
    clean = clean_of(rng, (224, 224))
    image = at_the_ends(rng, clean, eps)
    assert 8 * len(pack(image, clean)) < 1.01 * clean.size
    stripes = np.sort(image.reshape(3, -1), axis=1).reshape(image.shape)  # any image: its neighbours are alike
    assert len(pack(stripes, np.zeros_like(clean))) < len(pack(stripes[:, ::-1], clean)) * 9


@pytest.mark.parametrize("eps", ["0.5", "2.55", "0.7", "16.25"])
@pytest.mark.parametrize("dark", [True, False])
def test_ends_that_are_off_the_grid_take_a_bit_too(eps: str, dark: bool) -> None:
    """An attack adds one float32 to each pixel; which one is found from what rounding has left of it."""
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (224, 224)) // (1 if dark else 2) + (0 if dark else 100)
    before = (clean.transpose(2, 0, 1) / 255).astype(np.float32)
    delta = rng.choice([-1, 1], before.shape).astype(np.float32) * np.float32(float(eps) / 255)
    image = np.clip(before + np.clip(delta, -before, 1 - before), 0, 1)
    packed = pack(image, clean)
    assert 8 * len(packed) < 1.02 * clean.size
    assert np.array_equal(unpack(packed, clean).view(np.uint32), image.view(np.uint32))


def test_what_lies_between_the_ends_adds_little() -> None:
    """Of 5% of the pixels: which they are, and how many levels away."""
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (224, 224))
    image, others = at_the_ends(rng, clean, 4), moved(rng, clean, 3)
    between = rng.random(image.shape) < 0.05
    image[between] = others[between]
    assert 8 * len(pack(image, clean)) < (1 + 0.286 + 0.05 * 3.5) * clean.size  # a bit, the entropy of 5%, a level


def test_one_pixel_far_away_does_not_make_the_others_large() -> None:
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (224, 224))
    image = at_the_ends(rng, clean, 4)
    near = len(pack(image, clean))
    image[0, 3, 4], image[2, 9, 9] = np.nan, 1e30
    assert len(pack(image, clean)) < near + 100


def changed(packed: bytes, **head: Any) -> bytes:
    names = ("grid", "hi", "lo", "between", "off", "plane", "mask", "symbols", "steps")
    values = dict(zip(names, HEAD.unpack_from(packed), strict=True)) | head
    return HEAD.pack(*(values[name] for name in names)) + packed[HEAD.size :]


def test_bytes_that_are_no_packed_image_are_refused() -> None:
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (16, 16))
    packed = pack(some(rng, moved(rng, clean, 1), lambda n: rng.random(n, dtype=np.float32)), clean)
    *_, between, off, plane, _, _, steps = HEAD.unpack_from(packed)
    assert between > off > 0
    hostile = [
        b"", packed[:10], packed[:-1], packed + b"\0", changed(packed, grid=2), changed(packed, grid=1, hi=256.0),
        changed(packed, grid=1, lo=-1.0), changed(packed, grid=1, hi=float("nan")),
        changed(packed, between=clean.size + 1),
        changed(packed, between=between - 1), changed(packed, between=0, off=0), changed(packed, off=off + 1),
        changed(packed, off=between + 1), changed(packed, plane=plane + 1), changed(packed, steps=2**32 - 1),
        changed(packed, steps=steps - 1),
    ]  # fmt: skip
    for content in hostile:
        with pytest.raises(ValueError, match="an image of it"):
            unpack(content, clean)
    with pytest.raises(ValueError, match="an image of it"):
        unpack(packed, clean_of(rng, (17, 16)))


def test_random_bytes_are_an_image_or_a_refusal() -> None:
    """Each flipped byte of a packed image gives an image of the same size, or a ValueError: nothing else."""
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (12, 12))
    packed = pack(some(rng, moved(rng, clean, 3), lambda n: bits(rng, n)), clean)
    for place in range(len(packed)):
        content = bytearray(packed)
        content[place] ^= int(rng.integers(1, 256))
        try:
            assert unpack(bytes(content), clean).shape == (3, 12, 12)
        except ValueError:
            continue
