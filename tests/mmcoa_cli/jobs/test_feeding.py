"""Images read ahead by worker processes: the same bits in the same order, and errors in words."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from mmcoa_cli.datasets.pixels import load_pixels, looked_up, to_unit
from mmcoa_cli.jobs.feeding import HELD, Reading, chosen, fed
from mmcoa_cli.jobs.job import Conduct
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset
from store.errors import UserError
from store.index import Index

from .conftest import SMALL_RUN

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BATCHES = [np.array(rows) for rows in ([3, 0, 7], [11, 1], [4, 4, 2, 9], [5])]


def write(path: Path) -> Dataset:
    """Twelve JPEGs of two classes and of different sizes, attacked at 16 x 16."""
    rng = np.random.default_rng(0)
    writer = DatasetWriter(
        path, name=path.stem, class_names=("cat", "dog"), pixel_size=16, resize=18, image_size=None,
        template="This is a photo of a {}", source="made here",
    )  # fmt: skip
    with writer as out:
        for number in range(12):
            pixels = rng.integers(256, size=(20 + number, 40 - number, 3), dtype=np.uint8)
            jpeg = io.BytesIO()
            Image.fromarray(pixels).save(jpeg, "JPEG")
            out.add("train", jpeg.getvalue(), number % 2)
    return Dataset.open(path)


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Dataset]:
    with write(tmp_path / "photos.h5") as dataset:
        yield dataset


def test_weights_are_the_same_by_any_number_of_workers(new_home: Callable[[str], Home]) -> None:
    accelerator, found = Accelerator(cpu=True), []
    spec = train_spec("tecoa", **{**SMALL_RUN, "dataset": "photos", "shots": "full", "epochs": 2, "batch_size": 5})
    for workers in (0, 1, 2):
        home = new_home(f"workers-{workers}")
        write(home.datasets / "photos.h5").close()
        run = train(spec, home, accelerator, conduct=Conduct(workers=workers))
        found.append(load_tensors(epochs_in(home.checkpoints / run.id)[-1]))
        epochs = Index(home.database_url).epochs(run.id)
        assert all(epoch.waited is not None and 0 <= epoch.waited < epoch.seconds for epoch in epochs)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in found[0])


@pytest.mark.parametrize("reading", [Reading(), Reading(held=True), Reading(workers=1)], ids=str)
def test_every_batch_has_its_images(photos: Dataset, reading: Reading) -> None:
    """Also where one is asked for twice, as after memory ran out, and another never."""
    with fed(photos, np.arange(12), BATCHES, reading, pinned=False) as feed:
        for number in (0, 0, 2, 3):
            expected = load_pixels(photos, "train", BATCHES[number])
            assert np.array_equal(np.asarray(feed(number, BATCHES[number])), expected)


def test_held_images_are_read_once(photos: Dataset) -> None:
    with fed(photos, np.arange(12)[::-1], BATCHES, Reading(held=True), pinned=False) as feed:
        before = [feed(number, batch) for number, batch in enumerate(BATCHES)]
        photos.close()  # nothing can be read any more
        for number, batch in enumerate(BATCHES):
            assert np.array_equal(feed(number, batch), before[number])


def test_a_file_that_is_damaged_meanwhile_is_named(photos: Dataset) -> None:
    """A worker opens it for itself."""
    content = bytearray(photos.path.read_bytes())
    place = content.rindex(b"\xff\xd8\xff")  # where the last JPEG begins
    content[place + 200] ^= 1
    photos.path.write_bytes(content)
    with (
        fed(photos, np.arange(12), BATCHES, Reading(workers=1), pinned=False) as feed,
        pytest.raises(UserError) as raised,
    ):
        feed(0, BATCHES[0])
    assert str(photos.path) in str(raised.value) and raised.value.hint.startswith("remove it and type: mmcoa fetch")
    assert len(str(raised.value).splitlines()) == 1


def test_a_worker_that_is_killed_is_one_line(photos: Dataset) -> None:
    with fed(photos, np.arange(12), [np.arange(12)] * 50, Reading(workers=1), pinned=False) as feed:
        feed(0, np.arange(12))
        children = psutil.Process().children()
        servers = [one for one in children if "multiprocessing.forkserver" in " ".join(one.cmdline())]
        (worker,) = [worker for server in servers for worker in server.children()]
        worker.kill()
        with pytest.raises(UserError, match="a process that reads images died") as raised:
            for number in range(1, 50):
                feed(number, np.arange(12))
    assert raised.value.hint.startswith("--workers 0")


def test_how_many_workers_suit(photos: Dataset) -> None:
    few, many = 100, HELD // (3 * 16 * 16) + 1
    about = {"batch": 128, "cores": 8}
    assert chosen(photos, few, device=GPU, **about) == Reading(held=True)
    assert chosen(photos, many, device=GPU, **about) == Reading(7)
    assert chosen(photos, many, device=GPU, **about, processes=2) == Reading(3)
    assert chosen(photos, many, device=CPU, **about) == Reading(1)
    assert chosen(photos, many, device=GPU, batch=128, cores=2) == Reading()
    assert chosen(photos, many, device=GPU, batch=2**40, cores=8) == Reading()  # shared memory takes none of these
    assert chosen(photos, few, device=GPU, **about, asked=3) == Reading(3)
    assert chosen(photos, few, device=GPU, **about, asked=0) == Reading(held=True)


def test_quotients_are_looked_up_as_they_are_divided() -> None:
    levels = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    levels[0, :16, :16, 0] = np.arange(256).reshape(16, 16)
    divided = to_unit(levels, CPU)
    assert torch.equal(looked_up(torch.from_numpy(levels).permute(0, 3, 1, 2)), divided)
    assert divided.shape == (4, 3, 32, 32) and divided.is_contiguous()
    assert np.array_equal(divided.numpy(), (levels.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2))
