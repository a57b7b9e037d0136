"""What the tests of fetching share: a server that misbehaves as it is told, and archives as they are published."""

from __future__ import annotations

import io
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli.settings import Home

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
