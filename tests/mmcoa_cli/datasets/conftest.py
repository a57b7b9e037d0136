"""What the tests of fetching share: a server that misbehaves as it is told, archives as they are published, and stores
that a dataset is fetched into."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from PIL import Image

from mmcoa_cli import catalog
from mmcoa_cli.catalog import Archive, DatasetRow, Source
from mmcoa_cli.datasets.fetching import fetch_row
from mmcoa_cli.datasets.library import dataset_path
from mmcoa_cli.datasets.request import FetchRequest
from mmcoa_cli.settings import Home
from store.dataset_content import compute_checksum
from store.dataset_info import DatasetInfo
from store.datasets import Dataset

Answer = Callable[["Handler", int], None]


@dataclass
class Server:
    """A server on 127.0.0.1. `answers` are used up one a request, the last one again and again."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request so far


class Handler(BaseHTTPRequestHandler):
    """One request: what it is to be answered with is the server's to say."""

    state: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.state.ranges.append(wanted)
        answers = self.state.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self, int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0)

    def start(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("Bound", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        handler.state = Server(f"http://127.0.0.1:{http.server_address[1]}/archive")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler.state
        http.shutdown()
        thread.join()


@pytest.fixture
def serve(server: Server) -> Callable[[Mapping[str, bytes]], Source]:
    """Has the server give these files by name, and says from where and with which checksum to get them."""

    def make(files: Mapping[str, bytes]) -> Source:
        def answer(request: Handler, start: int) -> None:
            body = files[PurePosixPath(request.path).name][start:]
            request.start(206 if start else 200, Content_Length=str(len(body)))
            request.wfile.write(body)

        server.answers = [answer]
        base = server.url.rpartition("/")[0]
        return Source(
            archives=tuple(
                Archive(f"{base}/{name}", md5=hashlib.md5(content).hexdigest(), bytes=len(content))
                for name, content in files.items()
            )
        )

    return make


@pytest.fixture
def laid(tmp_path: Path) -> Callable[[str, Mapping[str, bytes]], Path]:
    """Writes files into a folder of that name: `laid("x", {"train/cat/1.png": b"..."})`."""

    def write(name: str, contents: Mapping[str, bytes]) -> Path:
        for path, content in contents.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
        return tmp_path / name

    return write


@pytest.fixture
def fetched(tmp_path: Path) -> Iterator[Callable[..., Dataset]]:
    """Brings a dataset, by its name in the catalog or its row, into a store of its own and opens it there.

    `fetched("dtd", folder)` takes it from a folder or archive, `fetched("dtd", source)` downloads it.
    """
    with ExitStack() as opened:
        count = 0

        def fetch(wanted: str | DatasetRow, place: Path | Source, **changes: Any) -> Dataset:
            nonlocal count
            count += 1
            row = catalog.datasets()[wanted] if isinstance(wanted, str) else wanted
            if isinstance(place, Source):
                changes["sources"] = (place,)
            row, home = replace(row, **changes), Home(tmp_path / f"store{count}", "")
            assert fetch_row(row, home, FetchRequest(place if isinstance(place, Path) else None))
            left = {path.name for path in home.datasets.iterdir() if path.suffix != ".lock"}
            assert left - {".verified"} == {dataset_path(row.name, home).name}
            return opened.enter_context(Dataset.open(dataset_path(row.name, home)))

        yield fetch


@pytest.fixture
def as_first_written() -> Callable[[Path], None]:
    """Makes a dataset file one of the first version, which said less of itself and had no seal."""

    def make(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            info = json.loads(file.attrs["info"])
            for later in ("request", "folders", "oriented", "changes", "left_out", "left_out_counts"):
                del info[later]
            del file.attrs["seal"]
            info["checksum"] = compute_checksum(file, DatasetInfo(**info))
            file.attrs["info"] = json.dumps(info)

    return make


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


def encoded(pixels: Any, kind: str = "PNG") -> bytes:
    """An image file with these pixels, (H, W, 3) in 0..255."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def image() -> Callable[..., bytes]:
    """Makes a file of one image: `image(seed, size=8, kind="PNG")`."""

    def make(seed: int, size: int | tuple[int, int] = 8, kind: str = "PNG") -> bytes:
        height, width = (size, size) if isinstance(size, int) else size
        return encoded(np.random.default_rng(seed).integers(0, 256, (height, width, 3)), kind)

    return make


@pytest.fixture
def tar_of() -> Callable[..., bytes]:
    """Makes a tar: `tar_of({"path": b"content"}, mode="w:gz")`."""

    def make(contents: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    return make


@pytest.fixture
def zip_of() -> Callable[[Mapping[str, bytes]], bytes]:
    def make(contents: Mapping[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return make


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes byte strings as Python 2 wrote its strings: as the published CIFAR files have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, data: bytes) -> None:
        self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(data)

    dispatch[bytes] = save_bytes


@pytest.fixture
def python2_pickle() -> Callable[[object], bytes]:
    def dumps(value: object) -> bytes:
        buffer = io.BytesIO()
        _Python2Pickler(buffer, protocol=2).dump(value)
        return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")

    return dumps


@pytest.fixture
def cifar10_files(python2_pickle: Callable[[object], bytes]) -> dict[str, bytes]:
    """CIFAR-10's archive in its true layout, with 4 images a batch."""
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    files = {"batches.meta": {b"num_cases_per_batch": 4, b"label_names": names, b"num_vis": 3072}}
    for seed, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rng = np.random.default_rng(seed)
        files[name] = {
            b"batch_label": name.encode(),
            b"labels": rng.integers(0, 10, 4).tolist(),
            b"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8),
            b"filenames": [b"%d.png" % n for n in range(4)],
        }
    return {f"cifar-10-batches-py/{name}": python2_pickle(content) for name, content in files.items()}
