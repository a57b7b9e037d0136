"""The store's examples: images as the attack leaves them, written as an example set and read back bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from store.examples import ExampleSet

from ..attacks.base import settings_of
from ..attacks.image import IMAGE
from ..datasets.pixels import Pixels, to_unit
from .bench import Bench
from .image import ours
from .race import FLOOR, OURS, Entrant, Race

MANY, FEW = 64, 16  # images
ATTACKED, STEPS = 2, 5  # so many different ones, after so many steps of PGD
PLAIN = "float32"  # images as they are, one a chunk, in HDF5 without compression
Floats = npt.NDArray[np.float32]


def races(bench: Bench) -> Iterator[Race]:
    """A set that is written, and one that is read."""
    number = FEW if bench.asked.quick else MANY
    clean, images = _attacked(bench, number)
    side, units = clean.shape[1], float(number)
    root = bench.folder / "examples"
    made = _write(root / "made", clean, images)
    size = made.path.stat().st_size
    bench.facts[f"bytes of an attacked image of {side} pixels"] = round(size / number)
    floats = root / "float32.h5"
    yield Race(
        "store", f"examples of {side} pixels, written", "image",
        [
            Entrant(OURS, lambda _: _write(root / "new", clean, images), units, before=lambda _: _remove(root / "new")),
            Entrant(FLOOR, lambda _: (root / "plain").write_bytes(bytes(size)), units),
            Entrant(PLAIN, lambda _: _write_floats(floats, images), units),
        ],
    )  # fmt: skip
    yield Race(
        "store", f"examples of {side} pixels, read", "image",
        [
            Entrant(OURS, lambda _: _read(root / "made", clean), units),
            Entrant(FLOOR, lambda _: (made.path.read_bytes(), images.copy()), units),
            Entrant(PLAIN, lambda _: _read_floats(floats), units),
        ],
    )  # fmt: skip


def _attacked(bench: Bench, number: int) -> tuple[Pixels, Floats]:
    """Clean images and what PGD makes of them; a few different ones, again and again."""
    pixels = bench.pixels(ATTACKED)
    images, settings = to_unit(pixels, bench.device), settings_of(IMAGE, {"steps": STEPS})
    attack = ours(bench.clip, bench.prompts(bench.few), images, bench.labels(ATTACKED), settings)
    found = attack(0).detach().cpu().numpy()
    again = np.arange(number) % ATTACKED
    return pixels[again], found[again]


def _set(root: Path, number: int) -> ExampleSet:
    return ExampleSet(root, {"attack": "bench"}, n=number, block_size=number)


def _write(root: Path, clean: Pixels, images: Floats) -> ExampleSet:
    found = _set(root, len(images))
    found.missing()
    found.write_block(0, {"label": np.zeros(len(images), np.int64)}, (clean, images))
    found.finish()
    return found


def _read(root: Path, clean: Pixels) -> Floats:
    return _set(root, len(clean)).images(0, len(clean), clean)


def _write_floats(path: Path, images: Floats) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(1, *images.shape[1:]))


def _read_floats(path: Path) -> Any:
    with h5py.File(path, "r") as file:
        return file["images"][:]


def _remove(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
