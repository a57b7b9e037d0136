"""A disk with any amount of room left: an error in words, never a crash; with room again, the same call ends well.

The disk is a file system of 1 MB in memory, mounted for the child process alone; that takes root. (What holds where no
file may grow beyond a limit is tested, for every user, beside each kind of file.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import store

CHILD = """
import os, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from store.errors import UserError

disk, tests = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, tests)
rng = np.random.default_rng(0)

def dataset(size):
    from store.dataset_writing import DatasetWriter
    from store.datasets import Dataset
    settings = {"pixel_size": 8, "resize": None, "template": "{}", "source": "", "image_size": size}
    with DatasetWriter(disk / "toy.h5", name="toy", class_names=("a",), **settings) as writer:
        for number in range(600):
            image = rng.integers(0, 255, (8, 8, 3), np.uint8) if size else rng.bytes(1 + number)
            writer.add("train", image, 0)
    Dataset.open(disk / "toy.h5").close()

def example_set():
    from store.examples import ExampleSet
    return ExampleSet(disk / "examples", {"key": ["x" * 100] * 300}, n=20, block_size=6)

def blocks():
    examples = example_set()
    for number in examples.missing():
        n = len(examples.blocks()[number])
        images = rng.integers(0, 255, (n, 16, 16, 3), np.uint8), rng.random((n, 3, 16, 16), np.float32)
        examples.write_block(number, {"label": np.arange(n), "prediction": np.arange(n)}, images)

def finish():
    example_set().finish(texts={"a": ["some text"] * 100}, notes={"b": 1})
    from store.example_reading import damage
    assert damage(example_set().path) is None

def checkpoint():
    import torch
    from store.checkpoints import load_tensors, save_checkpoint
    tensors = {"w": torch.zeros(30_000)}
    save_checkpoint(disk / "epoch", tensors=tensors, spec={}, state={"m": torch.zeros(9)}, files={"a": "b"})
    load_tensors(disk / "epoch")

def index():
    from store.index import Index
    from indexes import RUN
    index = Index(f"sqlite:///{disk / 'index.db'}")
    for number in range(20):
        index.save_run(replace(RUN, id=f"run{number}", spec='{"a": "' + "x" * 3000 + '"}'))
    assert len(index.runs()) == 20

def clean():
    import shutil
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()

act = {"arrays": lambda: dataset(8), "encoded": lambda: dataset(None), "blocks": blocks, "finish": finish,
       "checkpoint": checkpoint, "index": index}[sys.argv[3]]
outcomes = set()
for room in range(0, 204, 8):
    clean()
    if act is finish:
        blocks()
    system = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, system.f_bavail * system.f_frsize - room * 1024)))
    try:
        act()
        outcomes.add("done")
    except OSError as error:
        outcomes.add(f"error {error.errno}")
    except UserError as error:
        outcomes.add("said" if "disk" in f"{error} {error.hint}" else f"{error}")
    assert not [path for path in disk.rglob("*.partial")], "something half written was left"
    (disk / "filler").unlink()
    act()
print(sorted(outcomes))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root may mount a small disk")
    (tmp_path / "disk").mkdir()
    trial = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "disk")], check=False)
    if trial.returncode:
        pytest.skip("this machine mounts nothing")
    return tmp_path / "disk"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays", "encoded", "blocks", "finish", "checkpoint", "index"])
def test_any_room_left_is_enough_to_end_well(disk: Path, kind: str) -> None:
    mounted = f'mount -t tmpfs -o size=1m tmpfs "{disk}" && exec "$0" "$@"'
    child = [sys.executable, "-c", CHILD, str(disk), str(Path(__file__).parents[1] / "helpers"), kind]
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, *child],
        env={**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    outcomes = set(ended.stdout.strip("[]\n").replace("'", "").split(", "))
    assert outcomes <= {"done", "error 28", "said"}
    assert outcomes & {"error 28", "said"}
