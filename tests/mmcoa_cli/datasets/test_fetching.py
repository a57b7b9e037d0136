"""Datasets into the store: from a server, from this machine, by two processes at once, and after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli import catalog
from mmcoa_cli.catalog import Archive, DatasetRow, Source
from mmcoa_cli.datasets.fetching import fetch_dataset, fetch_row
from mmcoa_cli.datasets.library import dataset_path, open_dataset, registered_datasets
from mmcoa_cli.datasets.request import FetchRequest
from mmcoa_cli.datasets.samples import Sample
from mmcoa_cli.datasets.sources import downloads
from mmcoa_cli.settings import Home
from store.datasets import Dataset
from store.errors import UserError

CIFAR10 = replace(catalog.datasets()["cifar10"], splits={"train": 20, "test": 4}, sources=())
REPOSITORY = Path(__file__).parents[3]
Image = Callable[..., bytes]
TarOf = Callable[..., bytes]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0)


@pytest.fixture
def archive(cifar10_files: dict[str, bytes], tar_of: TarOf) -> bytes:
    return tar_of(cifar10_files)


def served(server: Any, data: bytes) -> DatasetRow:
    """The miniature's row, with the server as its source."""

    def answer(request: Any, start: int) -> None:
        body = data[start:]
        place = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        request.start(206 if start else 200, Content_Length=str(len(body)), **place)
        request.wfile.write(body)

    server.answers = [answer]
    return replace(CIFAR10, sources=(source_of(f"{server.url}.tar.gz", data),))


def source_of(url: str, data: bytes) -> Source:
    return Source(archives=(Archive(url, md5=hashlib.md5(data).hexdigest(), bytes=len(data)),))


def files_in(home: Home) -> list[str]:
    names = {path.name for path in home.datasets.iterdir() if path.suffix != ".lock"}
    return sorted(names - {".verified"})


def test_from_a_server(server: Any, home: Home, archive: bytes) -> None:
    row = served(server, archive)
    assert fetch_row(row, home)
    assert not fetch_row(row, home)
    with Dataset.open(dataset_path("cifar10", home)) as dataset:
        assert dataset.info.splits == {"train": 20, "test": 4}
        assert dataset.info.source == f"{server.url}.tar.gz"
        assert dataset.images("train", [0])[0].shape == (32, 32, 3)
    assert files_in(home) == ["cifar10.h5"]
    assert len(server.ranges) == 1


def test_the_second_source_is_taken_when_the_first_fails(server: Any, home: Home, archive: bytes) -> None:
    row = served(server, archive)
    row = replace(row, sources=(source_of("http://127.0.0.1:9/x", b""), *row.sources))
    assert fetch_row(row, home)


def test_a_source_out_of_reach_leaves_nothing_behind(home: Home) -> None:
    with pytest.raises(UserError, match="no network"):
        fetch_row(replace(CIFAR10, sources=(source_of("http://127.0.0.1:9/x", b""),)), home)
    assert files_in(home) == []


def test_the_same_from_a_folder_an_archive_and_a_server(
    server: Any, home: Home, archive: bytes, cifar10_files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "own.tar.gz").write_bytes(archive)
    for name, content in cifar10_files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as packed:
        for name, content in cifar10_files.items():
            packed.writestr(name, content)
    checksums = set()
    for number, source in enumerate((tmp_path / "own.tar.gz", tmp_path / "own", tmp_path / "own.zip", None)):
        place = Home(tmp_path / str(number), "")
        fetch_row(served(server, archive), place, FetchRequest(source))
        with Dataset.open(dataset_path("cifar10", place)) as dataset:
            checksums.add(dataset.info.checksum)
    assert len(checksums) == 1


def test_two_at_once(server: Any, home: Home, archive: bytes) -> None:
    row = served(server, archive)
    both = threading.Barrier(2)

    def fetch(_: int) -> bool:
        both.wait()
        return fetch_row(row, home)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(fetch, range(2))) == [False, True]
    assert len(server.ranges) == 1


SCRIPT = """
import json, sys
from pathlib import Path
from mmcoa_cli.catalog import Archive, DatasetRow, Source
from mmcoa_cli.datasets.request import FetchRequest
from mmcoa_cli.datasets.fetching import fetch_row
from mmcoa_cli.settings import Home
row = json.loads(sys.argv[1])
row["sources"] = tuple(
    Source(tuple(Archive(*archive) for archive in archives), *others) for archives, *others in row["sources"]
)
row["class_names"] = tuple(row["class_names"])
source = Path(sys.argv[3]) if len(sys.argv) > 3 else None
fetch_row(DatasetRow(**row), Home(Path(sys.argv[2]), ""), FetchRequest(source))
"""


def start(row: DatasetRow, home: Home, *source: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(row, default=vars), str(home.root), *source]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)


def test_a_kill_while_downloading(server: Any, home: Home, cifar10_files: dict[str, bytes], tar_of: TarOf) -> None:
    archive = tar_of({"padding": os.urandom(4 * downloads.CHUNK), **cifar10_files})
    row = served(server, archive)
    (good,) = server.answers
    sent, killed = threading.Event(), threading.Event()

    def stalling(request: Any, _: int) -> None:
        request.start(200, Content_Length=str(len(archive)))
        request.wfile.write(archive[: len(archive) // 2])
        sent.set()
        killed.wait(60)

    server.answers = [stalling, good]
    process = start(row, home)
    assert sent.wait(60)
    partial = home.datasets / ".cifar10.download" / "127.0.0.1" / "archive.tar.gz.partial"
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()
    assert fetch_row(row, home)
    assert server.ranges[1] is not None
    assert files_in(home) == ["cifar10.h5"]


def test_a_kill_while_writing(home: Home, tmp_path: Path, image: Image) -> None:
    row = DatasetRow("pets", class_names=("cat", "dog"), pixel_size=8)
    for number in range(400):
        path = tmp_path / "pets" / "train" / ("cat", "dog")[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as packed:
        for path in sorted((tmp_path / "pets").rglob("*.png")):
            packed.write(path, path.relative_to(tmp_path))
    process = start(row, home, str(tmp_path / "pets.zip"))
    partial = home.datasets / ".pets.h5.partial"
    while not partial.exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch_row(row, home, FetchRequest(tmp_path / "pets.zip"))
    whole = Home(tmp_path / "whole", "")
    fetch_row(row, whole, FetchRequest(tmp_path / "pets"))
    with Dataset.open(dataset_path("pets", home)) as one, Dataset.open(dataset_path("pets", whole)) as other:
        assert one.info.checksum == other.info.checksum
    assert files_in(home) == ["pets.h5"]


def test_a_dataset_of_ones_own(home: Home, tmp_path: Path, image: Image) -> None:
    for split in ("train", "test"):
        for bird in ("wren", "robin"):
            (tmp_path / "birds" / split / bird).mkdir(parents=True)
            (tmp_path / "birds" / split / bird / "1.jpg").write_bytes(image(1, (30, 40), "JPEG"))
    assert fetch_dataset("my birds", home, FetchRequest(tmp_path / "birds"))
    assert not fetch_dataset("my birds", home)
    with open_dataset("my birds", home) as dataset:
        assert dataset.info.class_names == ("robin", "wren")
        assert dataset.encoded
        assert (dataset.info.pixel_size, dataset.info.resize) == (224, 256)
        assert dataset.images("train", [0]) == [image(1, (30, 40), "JPEG")]
    assert registered_datasets(home) == ["my-birds"]


def test_a_part_of_a_catalog_dataset_keeps_all_classes(home: Home, tmp_path: Path, image: Image) -> None:
    (tmp_path / "x" / "test" / "ship").mkdir(parents=True)
    (tmp_path / "x" / "test" / "ship" / "1.png").write_bytes(image(1, 32))
    fetch_dataset("cifar10", home, FetchRequest(tmp_path / "x"))
    with open_dataset("cifar10", home) as dataset:
        assert len(dataset.info.class_names) == 10
        assert dataset.labels("test").tolist() == [8]
        assert dataset.info.partial


def test_digits_are_made_where_they_are_needed(home: Home) -> None:
    with open_dataset("digits", home) as dataset:
        assert dataset.info.splits == {"train": 1297, "test": 500}
    with pytest.raises(UserError, match="embedded"):
        fetch_dataset("digits", Home(home.root / "other", ""), FetchRequest(home.root))


def test_a_damaged_dataset_is_fetched_again(home: Home) -> None:
    fetch_dataset("digits", home)
    dataset_path("digits", home).write_bytes(b"damaged")
    assert fetch_dataset("digits", home)
    with open_dataset("digits", home) as dataset:
        assert len(dataset.labels("test")) == 500


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile",)


@pytest.mark.parametrize("part", ["batches.meta", "data_batch_3"])
def test_a_hostile_pickle_in_the_archive(
    home: Home,
    tmp_path: Path,
    cifar10_files: dict[str, bytes],
    tar_of: TarOf,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    cifar10_files[f"cifar-10-batches-py/{part}"] = pickle.dumps({b"data": Hostile()})
    (tmp_path / "x.tar.gz").write_bytes(tar_of(cifar10_files))
    with pytest.raises(UserError, match="nothing of it was run"):
        fetch_row(CIFAR10, home, FetchRequest(tmp_path / "x.tar.gz"))
    assert not (tmp_path / "hostile").exists()
    assert files_in(home) == []


def test_an_archive_that_lacks_images_is_a_part_from_this_machine(home: Home, tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(archive)
    fetch_row(catalog.datasets()["cifar10"], home, FetchRequest(tmp_path / "x.tar.gz"))
    with open_dataset("cifar10", home) as dataset:
        assert dataset.info.part("train").startswith("20 of 50,000 train images")
        assert dataset.info.part("test").startswith("4 of 10,000 test images, ")


def test_a_download_that_lacks_images_is_refused(server: Any, home: Home, archive: bytes) -> None:
    row = replace(served(server, archive), splits={"train": 50_000, "test": 10_000})
    with pytest.raises(UserError, match=r"holds .*'train': 20.* cifar10 has .*'train': 50000"):
        fetch_row(row, home)
    assert "cifar10.h5" not in files_in(home)


@pytest.mark.parametrize(
    ("name", "line", "hint"),
    [
        ("cifar10", "cifar10 is not in the store", "mmcoa fetch cifar10"),
        ("cifar11", "no dataset called 'cifar11'", "did you mean cifar10"),
        ("birds", "no dataset called 'birds'", "mmcoa fetch birds --from PATH"),
        ("../x", "cannot be a name", "begin it with"),
        ("", "cannot be a name", "begin it with"),
    ],
)
def test_what_is_not_here(home: Home, name: str, line: str, hint: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        open_dataset(name, home)
    assert hint in caught.value.hint


def test_memory_does_not_grow_with_the_dataset(home: Home) -> None:
    from mmcoa_cli.datasets.formats import readers

    def many(_: DatasetRow) -> Iterator[Sample]:
        for number in range(20_000):
            yield Sample("train", np.full((32, 32, 3), number % 251, np.uint8), number % 2)

    row = DatasetRow("many", class_names=("a", "b"), pixel_size=32, reader="many", embedded=True)
    readers.EMBEDDED["many"] = many
    try:
        tracemalloc.start()
        fetch_row(row, home)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        del readers.EMBEDDED["many"]
    assert peak < 20e6  # the images are 61 MB


@pytest.fixture
def scraped(tmp_path: Path, image: Image) -> Path:
    """Six cats of which three are cut short, and a dog."""
    for path, data in {
        **{f"cat/{n}.jpg": image(n, 48, "JPEG")[: -300 if n % 2 else None] for n in range(6)},
        "dog/0.jpg": image(9, 40, "JPEG"),
    }.items():
        (tmp_path / "scraped" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scraped" / path).write_bytes(data)
    return tmp_path / "scraped"


def test_all_broken_images_are_named_at_once(home: Home, scraped: Path) -> None:
    with pytest.raises(UserError, match="3 images of pets cannot be used") as raised:
        fetch_dataset("pets", home, FetchRequest(scraped))
    assert all(f"cat/{n}.jpg" in str(raised.value) for n in (1, 3, 5))
    assert "--skip-broken" in raised.value.hint
    assert files_in(home) == []


def test_broken_images_are_left_out_where_that_is_asked_for(
    home: Home, scraped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch_dataset("pets", home, FetchRequest(scraped, skip_broken=True))
    with Dataset.open(dataset_path("pets", home)) as dataset:
        assert dataset.labels("test").tolist() == [0, 0, 0, 1]
    assert "cat/5.jpg" in capsys.readouterr().err


def test_a_dataset_of_broken_images_only_is_none(home: Home, tmp_path: Path) -> None:
    for n in range(9):
        path = tmp_path / "x" / ("cat", "dog")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"9 images of pets cannot be used.* and 4 more"):
        fetch_dataset("pets", home, FetchRequest(tmp_path / "x", skip_broken=True))


def test_what_a_killed_process_left_is_removed_by_the_same_command(home: Home, tmp_path: Path, image: Image) -> None:
    """Killed when the dataset had taken its place, and before what was unpacked on the way was removed."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(image(8))
    assert fetch_dataset("pets", home, FetchRequest(tmp_path / "pets"))
    (home.datasets / ".pets.scratch" / "unpacked").mkdir(parents=True)
    assert not fetch_dataset("pets", home, FetchRequest(tmp_path / "pets"))
    assert not (home.datasets / ".pets.scratch").exists()
