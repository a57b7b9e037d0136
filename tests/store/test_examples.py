"""Example sets: bit for bit what was attacked with, resumed at the next block, complete or not there."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from store.errors import UserError
from store.example_reading import damage
from store.examples import ExampleSet
from store.files import lock
from store.hdf5 import open_finished

Start = Callable[[str], Any]
SPEC = {"model": "abc", "prompts": [f"This is a photo of a {i}" for i in range(5000)], "eps": "1/255"}  # over 64 kB

SET = """
import numpy as np
from store.examples import ExampleSet
from store.files import lock

rng = np.random.default_rng(0)
clean = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
adversarial = rng.random((20, 3, 8, 8), dtype=np.float32)
labels = np.arange(20)
examples = ExampleSet(folder, {"key": 1}, n=20, block_size=6)

def write(number, columns=None):
    block = slice(6 * number, min(6 * number + 6, 20))
    columns = columns or {"label": labels[block], "prediction": labels[block] * 2}
    examples.write_block(number, columns, (clean[block], adversarial[block]))

class Pausing(dict):
    def items(self):
        for number, item in enumerate(super().items()):
            yield item
            if number == 0:
                pause()
"""


def images(n: int, *, size: int = 8, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def grid(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Levels (b, H, W, 3) as images (b, 3, H, W), each the float32 nearest to k / 255."""
    return np.ascontiguousarray((levels.astype(np.float64) / 255).astype(np.float32).transpose(0, 3, 1, 2))


def stored(folder: Path, clean: Any, adversarial: Any, *, block_size: int = 4) -> ExampleSet:
    examples = ExampleSet(folder, SPEC, n=len(clean), block_size=block_size)
    for number in examples.missing():
        rows = slice(examples.blocks()[number].start, examples.blocks()[number].stop)
        examples.write_block(number, {"label": np.arange(len(clean))[rows]}, (clean[rows], adversarial[rows]))
    examples.finish(texts={"prompts": ["a cat", "ein Kätzchen 猫"], "none": []}, notes={"collisions": 2})
    return examples


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.view(np.uint32)


def packed_bytes(examples: ExampleSet) -> int:
    with h5py.File(examples.path) as file:
        return len(file["images/bytes"])


@pytest.mark.parametrize("seed", range(8))
def test_what_was_attacked_with_comes_back_bit_for_bit(tmp_path: Path, seed: int) -> None:
    """Samples on the grid, off it by rounding alone, off it by far, and too far from the clean image for 8 bits."""
    rng = np.random.default_rng(seed)
    clean = images(12, seed=seed)
    eps = int(rng.integers(1, 128))
    near = np.clip(clean.astype(int) + rng.integers(-eps, eps + 1, clean.shape), 0, 255)
    adversarial = grid(near)
    kinds = rng.integers(0, 5, 12)
    adversarial[kinds == 1] = rng.random(adversarial[kinds == 1].shape, dtype=np.float32)
    adversarial[kinds == 2, 0, 0, 0] = np.nextafter(adversarial[kinds == 2, 0, 0, 0], np.float32(0.5))
    adversarial[kinds == 3] = grid(255 - clean[kinds == 3])
    adversarial[kinds == 4, 1, 2, 3] = np.float32(-0.0)
    examples = stored(tmp_path, clean, adversarial, block_size=int(rng.integers(1, 13)))
    assert np.array_equal(bits(examples.images(0, 12, clean)), bits(adversarial))
    assert np.array_equal(bits(examples.images(3, 8, clean[3:8])), bits(adversarial[3:8]))


def test_a_small_perturbation_takes_little_room(tmp_path: Path) -> None:
    """Pixels up or down are a bit each; one that is off the grid adds a few bytes to its own image."""
    clean = images(8, size=64)
    levels = np.clip(clean.astype(int) + np.random.default_rng(1).choice([-4, 4], clean.shape), 0, 255)
    adversarial = grid(levels)
    on_grid = packed_bytes(stored(tmp_path / "on", clean, adversarial))
    assert on_grid < 1.05 / 8 * levels.size
    adversarial[3, 1, 20, 7] += np.float32(0.0003)
    assert packed_bytes(stored(tmp_path / "off", clean, adversarial)) <= on_grid + 40


def test_columns_texts_and_notes_come_back(tmp_path: Path) -> None:
    examples = stored(tmp_path, images(10), grid(images(10)))
    again = ExampleSet(tmp_path, SPEC, n=10, block_size=99)
    assert again.complete
    assert again.block_size == 4
    assert again.missing() == []
    assert again.columns("label").tolist() == list(range(10))
    assert again.columns("label").dtype == np.int64
    assert again.texts("prompts") == ["a cat", "ein Kätzchen 猫"]
    assert again.texts("none") == []
    assert again.notes == {"collisions": 2}
    assert again.checksum == examples.checksum
    assert damage(again.path) is None
    assert not examples.parts.exists()


def test_a_set_without_images(tmp_path: Path) -> None:
    examples = ExampleSet(tmp_path, SPEC, n=3, block_size=3)
    assert examples.missing() == [0]
    examples.write_block(0, {"outcome": np.array([0, 1, 2], np.uint8)})
    examples.finish()
    assert examples.columns("outcome").dtype == np.uint8


def test_images_of_the_second_layout_are_read(tmp_path: Path) -> None:
    """A set as it was written before: base-k digits, and the checksum of each array as one."""
    rng = np.random.default_rng(2)
    clean = rng.integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    adversarial = grid(np.clip(clean.astype(int) + rng.integers(-2, 3, clean.shape), 0, 255))
    adversarial[1] = rng.random(adversarial[1].shape, dtype=np.float32)
    adversarial[3, 0, 2, 5], adversarial[4, 1, 1, 1] = -0.0, np.nan
    examples = ExampleSet(tmp_path, {"layout": 2, "eps": "2/255"}, n=7, block_size=99)
    examples.path.write_bytes(gzip.decompress((Path(__file__).parent / "examples_0002.h5.gz").read_bytes()))
    assert examples.complete and damage(examples.path) is None and examples.block_size == 3
    assert np.array_equal(bits(examples.images(0, 7, clean)), bits(adversarial))
    assert np.array_equal(bits(examples.images(2, 5, clean[2:5])), bits(adversarial[2:5]))
    assert examples.texts("prompts") == ["a cat", "ein Kätzchen 猫"] and examples.values("recall").tolist() == [
        0,
        1,
        2,
        3,
    ]


def of_third_layout() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Clean images, and attacked ones: at the ends, between them, with ends off the grid, of any floats."""
    rng = np.random.default_rng(3)
    clean = rng.integers(0, 256, (7, 13, 11, 3), dtype=np.uint8)
    adversarial = grid(np.clip(clean.astype(int) + rng.choice([-2, 2], clean.shape), 0, 255))
    adversarial[1] = rng.random(adversarial[1].shape, dtype=np.float32)
    adversarial[2] = grid(np.clip(clean.astype(int) + rng.integers(-2, 3, clean.shape), 0, 255))[2]
    adversarial[3, 0, 2, 5], adversarial[4, 1, 1, 1] = -0.0, np.nan
    before, delta = grid(clean), np.float32(2.55 / 255)
    adversarial[5] = np.clip(before + delta * rng.choice([-1, 1], before.shape).astype(np.float32), 0, 1)[5]
    return clean, adversarial


def test_images_of_the_third_layout_are_read_as_it_was_first_written(tmp_path: Path) -> None:
    clean, adversarial = of_third_layout()
    examples = ExampleSet(tmp_path, {"layout": 3, "eps": "2/255"}, n=7, block_size=99)
    examples.path.write_bytes(gzip.decompress((Path(__file__).parent / "examples_0003.h5.gz").read_bytes()))
    assert examples.complete and damage(examples.path) is None and examples.block_size == 3
    assert np.array_equal(bits(examples.images(0, 7, clean)), bits(adversarial))


@pytest.mark.parametrize("n", [1, 3, 9])
def test_large_images_come_back_in_order(tmp_path: Path, n: int) -> None:
    clean = images(n, size=96)
    adversarial = grid(np.clip(clean.astype(int) + np.random.default_rng(1).integers(-2, 3, clean.shape), 0, 255))
    examples = stored(tmp_path, clean, adversarial, block_size=n)
    assert np.array_equal(bits(examples.images(0, n, clean)), bits(adversarial))
    assert np.array_equal(bits(examples.images(n - 1, n, clean[-1:])), bits(adversarial[-1:]))


def test_another_specification_is_another_set(tmp_path: Path) -> None:
    stored(tmp_path, images(4), grid(images(4)))
    assert not ExampleSet(tmp_path, {**SPEC, "eps": "2/255"}, n=4, block_size=4).complete


def test_a_file_of_another_specification_is_not_served(tmp_path: Path) -> None:
    examples = stored(tmp_path, images(4), grid(images(4)))
    changed = ExampleSet(tmp_path, {**SPEC, "eps": "2/255"}, n=4, block_size=4)
    examples.path.rename(changed.path)
    assert not changed.complete


def test_a_resume_keeps_the_blocks_it_finds(tmp_path: Path) -> None:
    first = ExampleSet(tmp_path, SPEC, n=10, block_size=4)
    assert first.missing() == [0, 1, 2]
    first.write_block(1, {"label": np.arange(4, 8)})
    resumed = ExampleSet(tmp_path, SPEC, n=10, block_size=3)
    assert resumed.blocks() == [range(0, 4), range(4, 8), range(8, 10)]
    assert resumed.missing() == [0, 2]
    with pytest.raises(UserError, match="not whole"):
        resumed.finish()
    resumed.write_block(2, {"label": np.arange(8, 10)})
    resumed.write_block(0, {"label": np.arange(0, 4)})
    resumed.finish()
    assert resumed.columns("label").tolist() == list(range(10))


def test_an_interrupted_set_equals_an_uninterrupted_one(tmp_path: Path, other: Start) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    lines = f"{SET.replace('(folder', '(folder / NAME')}\nexamples.missing()\n"
    interrupted = lines.replace("NAME", "'killed'")
    other(interrupted + "write(0)\nwrite(1, Pausing(label=labels[6:12], prediction=labels[6:12] * 2))").paused().kill()
    resume = "for number in examples.missing(): write(number)\n"
    finish = "examples.finish(texts=Pausing(one=['a'], two=['b']))"
    other(f"{interrupted}assert examples.missing() == [1, 2, 3]\n{resume}{finish}").paused().kill()
    assert not ExampleSet(killed, {"key": 1}, n=20, block_size=6).complete
    other(f"{interrupted}assert examples.missing() == []\n{finish}").paused().go().finish()
    other(lines.replace("NAME", "'whole'") + resume + finish).paused().go().finish()
    (made,), (expected,) = list(killed.glob("*.h5")), list(whole.glob("*.h5"))
    with h5py.File(made) as one, h5py.File(expected) as two:
        assert dict(one.attrs) == dict(two.attrs)
    assert damage(ExampleSet(killed, {"key": 1}, n=20, block_size=6).path) is None
    assert {path.name for path in killed.iterdir()} == {made.name, f"{made.name}.lock", ".verified"}


def test_two_processes_make_one_set(tmp_path: Path, other: Start) -> None:
    lines = f"{SET}\npause()\nexamples.missing()\nfor number in range(4): write(number)\nexamples.finish()\n"
    processes = [other(f"{lines}print(examples.checksum)") for _ in range(2)]
    for process in processes:
        process.paused()
    first, second = [process.go() for process in processes]
    checksum = first.finish()
    assert second.finish() == checksum
    examples = ExampleSet(tmp_path, {"key": 1}, n=20, block_size=6)
    assert damage(examples.path) is None
    assert not examples.parts.exists()


def test_a_set_may_be_finished_while_another_process_waits_for_a_block(tmp_path: Path, other: Start) -> None:
    """The folder of the blocks, and the lock that is waited for in it, are gone when the wait ends."""
    waiting = other(
        f"{SET}\nexamples.missing()\nimport logging\n"
        "class Told(logging.Handler):\n"
        "    def emit(self, record): pause()\n"
        "logging.getLogger('store').addHandler(Told())\nwrite(0)\nexamples.finish()\nprint(examples.checksum)"
    )
    examples = ExampleSet(tmp_path, {"key": 1}, n=20, block_size=6)
    examples.missing()
    with lock(examples._part(0), what="a block"):
        waiting.paused()
        for number, block in enumerate(examples.blocks()):
            labels = np.arange(block.start, block.stop)
            examples.write_block(number, {"label": labels, "prediction": labels * 2})
        examples.finish()
    assert waiting.go().finish() == f"{examples.checksum}\n"
    assert not examples.parts.exists()


def test_two_processes_in_one_block_do_not_mix(tmp_path: Path, other: Start) -> None:
    """While one is in the middle of a block, another that wants the same block waits and then leaves it as it is."""
    slow = other(f"{SET}\nexamples.missing()\nwrite(0, Pausing(label=labels[:6], prediction=labels[:6]))").paused()
    fast = other(f"{SET}\npause()\nwrite(0, Pausing(label=labels[:6] + 1, prediction=labels[:6]))").paused().go()
    slow.go().finish()
    fast.finish()
    (part,) = tmp_path.glob("*.parts/*.h5")
    with h5py.File(part) as file:
        assert file["label"][:].tolist() == list(range(6))


FULL_DISK = f"""{SET}
import resource
SETUP
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    ACT
except OSError as error:
    print(error.errno)
"""


def test_a_full_disk_while_a_block_is_written_leaves_no_block(tmp_path: Path, other: Start) -> None:
    lines = FULL_DISK.replace("SETUP", "examples.missing()").replace("ACT", "write(0)").replace("8, 8", "80, 80")
    assert other(lines).finish() == "27\n"  # EFBIG
    assert not list(tmp_path.glob("*.parts/*.h5"))
    assert not list(tmp_path.glob("*.parts/.*"))


def test_a_full_disk_at_the_end_keeps_the_blocks(tmp_path: Path, other: Start) -> None:
    setup = "examples.missing()\nfor number in range(4): write(number)"
    assert other(FULL_DISK.replace("SETUP", setup).replace("ACT", "examples.finish()")).finish() == "27\n"
    assert len(list(tmp_path.glob("*.parts/*.h5"))) == 4
    assert not list(tmp_path.glob("*.h5"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("columns", "clean", "adversarial"),
    [
        ({"label": np.arange(3)}, images(4), grid(images(4))),
        ({"label": np.arange(4)}, images(3), grid(images(4))),
        ({"label": np.arange(4)}, images(4), grid(images(3))),
        ({"label": np.arange(4)}, images(4), grid(images(4)).astype(np.float64)),
        ({"label": np.arange(4)}, images(4).astype(np.float32), grid(images(4))),
    ],
)
def test_a_block_that_does_not_fit_is_refused(tmp_path: Path, columns: Any, clean: Any, adversarial: Any) -> None:
    examples = ExampleSet(tmp_path, SPEC, n=4, block_size=4)
    with pytest.raises(ValueError, match=r"block 0 has 4 samples|images are uint8 and float32"):
        examples.write_block(0, columns, (clean, adversarial))
    assert examples.missing() == [0]


def test_blocks_of_different_columns_are_refused(tmp_path: Path) -> None:
    examples = ExampleSet(tmp_path, SPEC, n=4, block_size=2)
    assert examples.missing() == [0, 1]
    examples.write_block(0, {"label": np.arange(2)})
    examples.write_block(1, {"index": np.arange(2)})
    with pytest.raises(UserError, match="its columns are not those"):
        examples.finish()
    assert not examples.complete


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def wrong_magic(path: Path) -> None:
    path.write_bytes(b"\x89HDX" + path.read_bytes()[4:])


def unfinished(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file.attrs["complete"]


def with_a_link(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["more"] = h5py.ExternalLink("elsewhere.h5", "test")


def with_references(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("more", (1,), h5py.ref_dtype)


@pytest.mark.parametrize("damage", [truncated, wrong_magic, unfinished, with_a_link, with_references])
def test_a_damaged_or_hostile_file_is_refused_and_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    clean = images(6)
    examples = stored(tmp_path, clean, grid(clean))
    damage(examples.path)
    again = ExampleSet(tmp_path, SPEC, n=6, block_size=4)
    assert not again.complete
    with pytest.raises(UserError, match="cannot be read") as error:
        again.columns("label")
    assert error.value.hint == "remove it and evaluate again"
    assert damage(stored(tmp_path, clean, grid(clean)).path) is None


@pytest.mark.parametrize("name", ["label", "images/bytes", "images/ends"])
def test_verify_sees_a_changed_value(tmp_path: Path, name: str) -> None:
    examples = stored(tmp_path, images(6), grid(images(6)))
    with h5py.File(examples.path, "a") as file:
        file[name][3] = file[name][3] + 1
    assert damage(examples.path)


def test_keys_take_dataclasses(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Attack:
        eps: str = "1/255"

    asked = {"attack": Attack()}
    assert (
        ExampleSet(tmp_path, asked, n=1, block_size=1).key
        == ExampleSet(tmp_path, {"attack": {"eps": "1/255"}}, n=1, block_size=1).key
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_column_that_is_not_finite_is_not_served(tmp_path: Path, value: float) -> None:
    examples = ExampleSet(tmp_path, SPEC, n=2, block_size=2)
    for number in examples.missing():
        examples.write_block(number, {"credit": np.array([1.0, value])})
    examples.finish()
    with pytest.raises(UserError, match="its column 'credit' holds what is no number"):
        examples.columns("credit")


def test_a_finished_set_is_opened_twice_whatever_is_asked_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to see that it is whole, once for all its columns and texts."""
    clean = images(10)
    stored(tmp_path, clean, grid(clean), block_size=4)
    opened: list[Path] = []

    def counted(path: Path) -> Any:
        opened.append(path)
        return open_finished(path)

    monkeypatch.setattr("store.example_reading.open_finished", counted)
    examples = ExampleSet(tmp_path, SPEC, n=10, block_size=5)
    for _ in range(3):
        assert examples.complete and examples.block_size == 4 and examples.missing() == []
        assert examples.notes == {"collisions": 2} and examples.checksum
        assert len(examples.columns("label")) == 10 and len(examples.texts("prompts")) == 2
    assert opened == [examples.path] * 2
