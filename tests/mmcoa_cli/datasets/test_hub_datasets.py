"""Datasets from a hub of Hugging Face's layout, on 127.0.0.1."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from PIL import Image

from mmcoa_cli.catalog import DatasetRow, Source
from mmcoa_cli.datasets.fetching import fetch_row
from mmcoa_cli.datasets.library import dataset_path
from mmcoa_cli.settings import Home
from store.datasets import Dataset
from store.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = ("wren", "robin")
TRAIN, TEST = "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"


@dataclass
class Hub:
    """What the server has, and how it misbehaves."""

    files: dict[str, bytes]
    altered: set[str] = field(default_factory=set)  # files that arrive other than announced
    dropped: dict[str, int] = field(default_factory=dict)  # after how many bytes the first download of a file breaks
    refused: str = ""  # the X-Error-Code of every answer
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    tokens: dict[str, str | None] = field(default_factory=dict)  # the Authorization header by path


class Handler(BaseHTTPRequestHandler):
    """Answers for the dataset org/birds as the hub does: its commit, its files, and where a file is to be had."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((path, self.headers.get("Range")))
        self.hub.tokens[path] = self.headers.get("Authorization")
        if self.hub.refused and path != "/":
            self._send(403, b"", {"X-Error-Code": self.hub.refused, "X-Error-Message": "ask for access"})
        elif path.startswith("/api/datasets/org/birds"):
            self._send(200, self._about(), {"Content-Type": "application/json"})
        elif path.startswith(f"/datasets/org/birds/resolve/{COMMIT}/"):
            self._redirect(path.partition(f"{COMMIT}/")[2])
        elif path.startswith("/cdn/"):
            self._content(path.removeprefix("/cdn/"))
        else:
            self._send(200 if path == "/" else 404, b"", {"X-Error-Code": "RepoNotFound"})

    def _about(self) -> bytes:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            | ({} if name.endswith(".md") else {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 9}})
            for name, data in self.hub.files.items()
        ]
        return json.dumps({"id": "org/birds", "sha": COMMIT, "siblings": siblings}).encode()

    def _redirect(self, name: str) -> None:
        data = self.hub.files[name]
        linked = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": COMMIT}
        elsewhere = (
            f"http://localhost:{self.headers['Host'].rpartition(':')[2]}"  # as the hub's files are: another host
        )
        self._send(302, b"", {"Location": f"{elsewhere}/cdn/{name}", **linked})

    def _content(self, name: str) -> None:
        data = self.hub.files[name]
        if name in self.hub.altered:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        place = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        if self.command == "GET" and name in self.hub.dropped:
            self._send(200, data, place, only=self.hub.dropped.pop(name))
            self.close_connection = True
            return
        self._send(206 if start else 200, data[start:], place)

    def _send(self, status: int, body: bytes, headers: dict[str, str], only: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:only])

    def log_message(self, *_: object) -> None:
        """Quiet."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parquet(seeds: range) -> bytes:
    images = []
    for seed in seeds:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        images.append({"bytes": buffer.getvalue(), "path": None})
    features = {"image": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}
    table = pa.table({"image": images, "label": [seed % 2 for seed in seeds]})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    return {
        TRAIN: parquet(range(6)), TEST: parquet(range(6, 9)), "README.md": b"# birds",
        "data/extra-00000-of-00001.parquet": b"another split", "setup.py": b"evil", "data/train.csv": b"evil",
    }  # fmt: skip


@pytest.fixture
def hub(published: dict[str, bytes], at_hub: Callable[[type], None]) -> Hub:
    handler = type("Bound", (Handler,), {"hub": Hub(dict(published))})
    at_hub(handler)
    return handler.hub


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "")


def row(revision: str = "", repository: str = "org/birds", note: str = "") -> DatasetRow:
    return DatasetRow(
        "birds", class_names=NAMES, pixel_size=64, splits={"train": 6, "test": 3}, licence="for birds only",
        sources=(Source(repository=repository, revision=revision, note=note),),
    )  # fmt: skip


def left_in(home: Home) -> list[str]:
    return sorted(path.name for path in home.datasets.iterdir() if path.suffix != ".lock" and path.name != ".verified")


@pytest.mark.parametrize("revision", ["", COMMIT, "main"])
def test_a_dataset_of_the_hub(hub: Hub, home: Home, revision: str) -> None:
    assert fetch_row(row(revision), home)
    with Dataset.open(dataset_path("birds", home)) as dataset:
        assert dataset.info.splits == {"test": 3, "train": 6}
        assert dataset.labels("train").tolist() == [0, 1, 0, 1, 0, 1]
        assert dataset.info.source == f"org/birds@{COMMIT}"
        assert dataset.info.part("test") == ""
        images = dataset.images("test", range(3))
    for seed, pixels in zip(range(6, 9), images, strict=True):
        np.testing.assert_array_equal(pixels, np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8))
    assert left_in(home) == ["birds.h5"]
    got = {path for path, _ in hub.requests if path.startswith("/cdn/")}
    assert got == {f"/cdn/{TRAIN}", f"/cdn/{TEST}"}  # nothing else of the repository


def test_what_sets_its_images_apart_is_in_the_source(hub: Hub, home: Home) -> None:
    fetch_row(row(note="another crop"), home)
    with Dataset.open(dataset_path("birds", home)) as dataset:
        assert dataset.info.source == f"org/birds@{COMMIT} (another crop)"


def test_a_file_that_arrives_altered_is_refused_and_fetched_anew(hub: Hub, home: Home) -> None:
    hub.altered.add(TEST)
    with pytest.raises(UserError, match=f"{TEST} of org/birds arrived altered") as caught:
        fetch_row(row(), home)
    assert "mmcoa fetch birds" in caught.value.hint
    assert "birds.h5" not in left_in(home)
    hub.altered.clear()
    hub.requests.clear()
    assert fetch_row(row(), home)
    assert [path for path, _ in hub.requests if path.startswith("/cdn/")] == [f"/cdn/{TEST}"]  # the other is kept
    assert left_in(home) == ["birds.h5"]


def test_a_gated_repository_says_what_to_accept_where_and_what_to_set(
    hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refused = "GatedRepo"
    with pytest.raises(UserError) as caught:
        fetch_row(row(), home)
    assert str(caught.value) == "org/birds is given out only to those who accept its licence (for birds only)"
    assert f"accept it at {constants.ENDPOINT}/datasets/org/birds" in caught.value.hint
    assert "HF_TOKEN" in caught.value.hint and "mmcoa fetch birds --from PATH" in caught.value.hint
    assert left_in(home) == []


def test_a_token_is_sent_to_the_hub_and_to_nobody_else(hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_row(row(), home)
    asked = {path: token for path, token in hub.tokens.items() if path != "/"}
    assert {token for path, token in asked.items() if not path.startswith("/cdn/")} == {"Bearer hf_secret"}
    assert {token for path, token in asked.items() if path.startswith("/cdn/")} == {None}


def test_a_connection_that_breaks_is_gone_on_with(hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub waits a second before it asks for the rest; it keeps what fills a chunk."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    hub.dropped[TRAIN] = 20_000
    assert fetch_row(row(), home)
    ranges = [wanted for path, wanted in hub.requests if path == f"/cdn/{TRAIN}"]
    assert ranges[-1] is not None and int(ranges[-1].removeprefix("bytes=").partition("-")[0]) >= 4096
    assert left_in(home) == ["birds.h5"]


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_the_local_cache_needs_no_network(
    hub: Hub, home: Home, published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    """As `datasets` or huggingface_hub leave a repository there."""
    cache = tmp_path / "cache" / "datasets--org--birds"
    for name in (TRAIN, TEST):
        (cache / "blobs").mkdir(parents=True, exist_ok=True)
        (cache / "blobs" / sha256(published[name])).write_bytes(published[name])
        link = cache / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / "blobs" / sha256(published[name]))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_row(row(revision), home)
    assert hub.requests == []
    with Dataset.open(dataset_path("birds", home)) as dataset:
        assert dataset.info.source == f"org/birds@{COMMIT}"
    assert (cache / "snapshots" / COMMIT / TRAIN).exists()  # the cache is not ours to empty


def test_a_cache_that_lacks_a_split_is_not_enough(
    hub: Hub, home: Home, published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "cache" / "datasets--org--birds" / "snapshots" / COMMIT
    (snapshot / TEST).parent.mkdir(parents=True)
    (snapshot / TEST).write_bytes(published[TEST])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="not in the local cache, and HF_HUB_OFFLINE is set") as caught:
        fetch_row(row(COMMIT), home)
    assert "--from" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert fetch_row(row(COMMIT), home)


def without_data(hub: Hub) -> None:
    hub.files = {"README.md": b"# birds"}


def without_a_hub(hub: Hub) -> None:
    constants.ENDPOINT = "http://127.0.0.1:9"


def busy(hub: Hub) -> None:
    hub.refused = "Other"


def enormous(hub: Hub) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 10**18

    hub.files[TRAIN] = Huge(hub.files[TRAIN])


@pytest.mark.parametrize(
    ("trouble", "line"),
    [
        (without_data, "org/birds has no data of train, test"), (without_a_hub, r"cannot reach .*no network"),
        (busy, "cannot download org/birds: .*403"), (enormous, "birds needs .*B more, and the disk has"),
    ],
)  # fmt: skip
def test_trouble_is_one_line(hub: Hub, home: Home, trouble: Callable[[Hub], None], line: str) -> None:
    trouble(hub)
    with pytest.raises(UserError, match=line) as caught:
        fetch_row(row(), home)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert left_in(home) == []


@pytest.mark.parametrize("repository", ["org/none", "none", "a/b/c", "org/birds?x"])
def test_no_such_repository(hub: Hub, home: Home, repository: str) -> None:
    with pytest.raises(UserError):
        fetch_row(row(repository=repository), home)
    assert left_in(home) == []


@pytest.mark.parametrize("name", ["../../test/stray.parquet", "/tmp/test/stray.parquet", "test/../../stray.tar"])
def test_a_repository_whose_files_lead_elsewhere(hub: Hub, home: Home, tmp_path: Path, name: str) -> None:
    hub.files = {name: b"stray", **hub.files}
    with pytest.raises(UserError, match="lists the unsafe path"):
        fetch_row(row(), home)
    assert not [path for path, _ in hub.requests if "stray" in path]
    assert not list(tmp_path.rglob("stray*")) and not Path("/tmp/test/stray.parquet").exists()


def test_the_next_source_is_taken_where_the_hub_refuses(hub: Hub, home: Home) -> None:
    both = replace(row(), sources=(Source(repository="org/none"), *row().sources))
    assert fetch_row(both, home)
    assert left_in(home) == ["birds.h5"]
