"""An image comes back bit for bit, whatever its floats are; bytes that are no packed image are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from store.example_packing import HEAD, bytes_expected, pack, unpack

SIZES = [(1, 1), (2, 3), (8, 8), (31, 17), (96, 96), (224, 224)]
HOSTILE = np.array(
    [0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x807FFFFF, 0x7F7FFFFF, 0xBF800000],
    np.uint32,
).view(np.float32)  # NaN (quiet, signalling, negative), +-inf, -0.0, denormals, the largest, -1

Image = np.ndarray[Any, Any]


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


@pytest.mark.parametrize(("eps", "bits_a_value"), [(0, 0.05), (1, 1.6), (2, 2.4), (4, 3.3)])
def test_a_grid_of_few_levels_takes_little_more_than_its_entropy(eps: int, bits_a_value: float) -> None:
    """log2(2 eps + 1) bits where all differences are as likely."""
    rng = np.random.default_rng(eps)
    clean = rng.integers(eps, 256 - eps, (224, 224, 3), dtype=np.uint8)
    packed = pack(moved(rng, clean, eps), clean)
    assert 8 * len(packed) < bits_a_value * clean.size
    assert eps == 0 or 8 * len(packed) > np.log2(2 * eps + 1) * clean.size


@pytest.mark.parametrize(("levels", "off_grid"), [(1, 0.0), (1, 0.01), (4, 0.1), (2, 0.4), (1, 1.0)])
def test_what_an_image_takes_is_known_before(levels: int, off_grid: float) -> None:
    """Of values that are as likely anywhere in the ball: at most a fifth from what is expected."""
    rng = np.random.default_rng(0)
    clean = rng.integers(levels, 256 - levels, (224, 224, 3), dtype=np.uint8)
    image = moved(rng, clean, levels)
    off = rng.random(image.shape) < off_grid
    drawn = clean.transpose(2, 0, 1)[off] + rng.uniform(-levels, levels, int(off.sum()))
    image[off] = (drawn / 255).astype(np.float32)
    assert len(pack(image, clean)) == pytest.approx(
        bytes_expected(image.size, levels=levels, off_grid=off_grid), rel=0.2
    )


def changed(packed: bytes, **head: int) -> bytes:
    names = ("lowest", "count", "off", "digits", "places", "steps")
    values = dict(zip(names, HEAD.unpack_from(packed), strict=True)) | head
    return HEAD.pack(*(values[name] for name in names)) + packed[HEAD.size :]


def test_bytes_that_are_no_packed_image_are_refused() -> None:
    rng = np.random.default_rng(0)
    clean = clean_of(rng, (16, 16))
    packed = pack(some(rng, moved(rng, clean, 1), lambda n: rng.random(n, dtype=np.float32)), clean)
    _, count, off, *sizes = HEAD.unpack_from(packed)
    hostile = [
        b"", packed[:10], packed[:-1], packed + b"\0", changed(packed, count=0), changed(packed, count=257),
        changed(packed, off=clean.size + 1), changed(packed, off=off + 1), changed(packed, count=count + 200),
        changed(packed, digits=sizes[0] + 1), changed(packed, steps=2**32 - 1),
    ]  # fmt: skip
    for content in hostile:
        with pytest.raises(ValueError, match="an image of it"):
            unpack(content, clean)
    with pytest.raises(ValueError, match="not of this size"):
        unpack(packed, clean_of(rng, (17, 16)))


def test_places_outside_of_the_image_are_refused() -> None:
    clean, word = np.zeros((2, 2, 3), np.uint8), np.uint32(1).tobytes()
    for gap in (0, 13, 2**32 - 1):
        content = HEAD.pack(0, 1, 1, 0, 4, 4) + np.uint32(gap).tobytes() + word
        with pytest.raises(ValueError, match="pixels outside"):
            unpack(content, clean)


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
