"""One flipped bit anywhere in a stored file: what is read is what was written, or one line says that it is not."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from store import verification
from store.checkpoints import load_spec, load_state, load_tensors, save_checkpoint
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.errors import UserError
from store.example_reading import damage
from store.examples import ExampleSet

FLIPS = 200  # of each kind of file
CLEAN = np.arange(60, dtype=np.uint8).reshape(5, 2, 2, 3)
ADVERSARIAL = (CLEAN.transpose(0, 3, 1, 2).astype(np.float32) + 1) / np.float32(255)
ADVERSARIAL[4] = 0.1234
COMMON: dict[str, Any] = {
    "pixel_size": 4,
    "resize": None,
    "template": "a {}",
    "source": "here",
    "expected": {"test": 9},
}
OLD = Path(__file__).parent


def dataset(path: Path, **settings: Any) -> Path:
    rng, captions, arrays = np.random.default_rng(0), 2 * (not settings["class_names"]), "image_size" in settings
    with DatasetWriter(path, name="toy", **COMMON, **settings) as writer:
        for number in range(30):
            image = rng.integers(0, 255, (4, 4, 3), np.uint8) if arrays else rng.bytes(40 + number)
            lines = [f"caption {place} of {number}, 猫" for place in range(captions)]
            writer.add(("train", "test")[number % 2], image, -1 if captions else number // 2 % 2, lines)
    return path


def read_dataset(path: Path) -> Any:
    with Dataset.open(path) as opened:
        info = opened.info
        return [
            repr(info),
            *(opened.labels(split).tolist() for split in info.splits),
            *(np.array(opened.images(split, range(n))).tobytes() for split, n in info.splits.items()),
            *(opened.captions(split) for split in info.splits if info.captions),
        ]


def example_set(folder: Path) -> ExampleSet:
    return ExampleSet(folder, {"key": 1}, n=5, block_size=3)


def blocks(folder: Path) -> ExampleSet:
    examples = example_set(folder)
    for number in examples.missing():
        rows = slice(examples.blocks()[number].start, examples.blocks()[number].stop)
        examples.write_block(number, {"label": np.arange(5)[rows]}, (CLEAN[rows], ADVERSARIAL[rows]))
    return examples


def finished(folder: Path) -> ExampleSet:
    examples = blocks(folder)
    examples.finish(texts={"prompts": ["a cat", "ein Kätzchen"]}, notes={"collisions": 2})
    return examples


def read_examples(path: Path) -> Any:
    examples = example_set(path.parent)
    images = examples.images(0, 5, CLEAN).tobytes()
    return [examples.columns("label").tolist(), examples.texts("prompts"), examples.notes, examples.block_size, images]


def read_after_finishing(path: Path) -> Any:
    """A block, or the block size, of a set that is finished after the flip; all else is as it was."""
    folder = path.parents[1]
    for left in folder.glob("*.h5"):
        left.unlink()
    return read_examples(finished(folder).path)


def checkpoint(folder: Path, name: str) -> Path:
    tensors = {"w": torch.arange(20.0), "v": torch.ones(3, 4)}
    save_checkpoint(folder / "epoch", tensors=tensors, spec={"lr": 1e-5, "eps": "1/255"}, state={"m": torch.ones(4)})
    return folder / "epoch" / name


def read_checkpoint(path: Path) -> Any:
    tensors, state = load_tensors(path.parent), load_state(path.parent) or {}
    return [load_spec(path.parent), *((name, value.tolist()) for name, value in (*tensors.items(), *state.items()))]


def of_the_first_version(path: Path) -> Path:
    name = {"toy.h5": path.parent.name}.get(path.name, "examples")
    path.write_bytes(gzip.decompress((OLD / f"{name}_0001.h5.gz").read_bytes()))
    return path


Reader = Callable[[Path], Any]
KINDS: dict[str, tuple[Callable[[Path], Path], Reader]] = {
    "arrays": (lambda f: dataset(f / "toy.h5", class_names=("cat", "dog"), image_size=4), read_dataset),
    "encoded": (lambda f: dataset(f / "toy.h5", class_names=("cat", "dog")), read_dataset),
    "captions": (lambda f: dataset(f / "toy.h5", class_names=()), read_dataset),
    "examples": (lambda f: finished(f).path, read_examples),
    "block": (lambda f: blocks(f)._part(0), read_after_finishing),
    "begun": (lambda f: blocks(f)._begun, read_after_finishing),
    "weights": (lambda f: checkpoint(f, "model.safetensors"), read_checkpoint),
    "state": (lambda f: checkpoint(f, "state.safetensors"), read_checkpoint),
    "spec": (lambda f: checkpoint(f, "spec.json"), read_checkpoint),
}


def outcome(path: Path, read: Reader, expected: Any) -> str:
    verification._known.clear()
    try:
        return "same" if read(path) == expected else "wrong"
    except UserError as error:
        return "refused" if error.hint and "\n" not in str(error) else "no words"


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_served(tmp_path: Path, kind: str) -> None:
    make, read = KINDS[kind]
    path = make(tmp_path)
    beside = {other: other.read_bytes() for other in path.parent.iterdir() if other.is_file()}
    expected, found = read(path), []
    for bit in random.Random(0).sample(range(8 * len(beside[path])), min(FLIPS, 8 * len(beside[path]))):
        for other, content in beside.items():
            other.parent.mkdir(exist_ok=True)
            other.write_bytes(content)
        flipped = bytearray(beside[path])
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found.append(outcome(path, read, expected))
    assert set(found) <= {"same", "refused"}
    assert "refused" in found


SILENT = ["arrays", "encoded", "captions", "examples"]


@pytest.mark.parametrize("kind", SILENT)
def test_a_bit_that_rots_after_the_file_was_verified_is_an_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's times say nothing of it: only the checksums of what is read do."""
    make, read = KINDS[kind]
    path = make(tmp_path)
    content, expected, found = path.read_bytes(), read(path), []
    monkeypatch.setattr("store.datasets.verified", lambda *_, **__: True)
    monkeypatch.setattr("store.example_reading.verified", lambda *_, **__: True)
    for bit in random.Random(1).sample(range(8 * len(content)), FLIPS):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found.append(outcome(path, read, expected))
    assert set(found) <= {"same", "refused"}
    assert "refused" in found


@pytest.mark.parametrize("name", ["arrays", "encoded"])
def test_a_dataset_of_the_first_version_opens(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with Dataset.open(of_the_first_version(tmp_path / name / "toy.h5")) as opened:
        assert opened.info.name == name
        if name == "arrays":
            assert opened.labels("test").tolist() == [0, 1, 0]
            assert [int(image.max()) for image in opened.images("test", range(3))] == [1, 3, 5]
        else:
            assert opened.images("test", range(3)) == [bytes([number, 7]) for number in range(3)]
            assert opened.captions("test")[2] == ["caption 2", "ça 猫"]


def test_an_example_set_of_the_first_version_opens(tmp_path: Path) -> None:
    examples = example_set(tmp_path)
    of_the_first_version(examples.path)
    assert examples.complete
    assert read_examples(examples.path) == read_examples(finished(tmp_path / "new").path)
    assert damage(examples.path) is None
