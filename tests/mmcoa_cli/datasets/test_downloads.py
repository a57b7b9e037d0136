"""Downloads from a server that drops, lies, ignores, redirects and refuses."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.catalog import Archive
from mmcoa_cli.datasets.sources import downloads
from mmcoa_cli.datasets.sources.downloads import download
from store.errors import UserError

DATA = os.urandom(1_000_000)
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def source(server: Any, *, md5: str = MD5, size: int = len(DATA)) -> Archive:
    return Archive(server.url, md5=md5, bytes=size)


def whole(request: Any, start: int) -> None:
    """What a good server does."""
    if start:
        body = DATA[start:]
        request.start(206, Content_Length=str(len(body)), Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
    else:
        body = DATA
        request.start(200, Content_Length=str(len(body)))
    request.wfile.write(body)


def dropping(after: int) -> Any:
    def answer(request: Any, start: int) -> None:
        if start:
            request.start(206, Content_Length=str(len(DATA) - start), Content_Range=f"bytes {start}-{len(DATA)}/*")
        else:
            request.start(200, Content_Length=str(len(DATA)))
        request.wfile.write(DATA[start : start + after])

    return answer


def ignoring_range(request: Any, _: int) -> None:
    whole(request, 0)


def saying(status: int, body: bytes = b"", **headers: str) -> Any:
    def answer(request: Any, _: int) -> None:
        request.start(status, Content_Length=str(len(body)), **headers)
        request.wfile.write(body)

    return answer


def test_a_good_server(server: Any, target: Path) -> None:
    server.answers = [whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA
    assert server.ranges == [None]
    assert [p.name for p in target.parent.iterdir()] == ["archive"]
    download(source(server), target, name="x")
    assert len(server.ranges) == 1


def test_an_unknown_size(server: Any, target: Path) -> None:
    server.answers = [whole]
    download(source(server, size=0), target, name="x")
    assert target.read_bytes() == DATA


def test_broken_connections_are_gone_on_with(server: Any, target: Path) -> None:
    server.answers = [dropping(300_000), dropping(300_000), whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_what_an_earlier_process_left_is_gone_on_with(server: Any, target: Path) -> None:
    target.with_name("archive.partial").write_bytes(DATA[:700_000])
    server.answers = [whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA
    assert server.ranges == ["bytes=700000-"]


@pytest.mark.parametrize("left", [b"x" * 700_000, b"x" * len(DATA), b"x" * (len(DATA) + 5), DATA + b"x"])
def test_what_is_left_of_another_file_is_thrown_away(server: Any, target: Path, left: bytes) -> None:
    target.with_name("archive.partial").write_bytes(left)
    server.answers = [whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


def test_a_server_that_ignores_ranges(server: Any, target: Path) -> None:
    server.answers = [dropping(300_000), ignoring_range]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "wrong", [saying(206, DATA[5:], Content_Range="bytes 5-999999/*"), saying(206, DATA), saying(416), saying(200)]
)
def test_a_server_that_answers_a_range_wrongly(server: Any, target: Path, wrong: Any) -> None:
    server.answers = [dropping(300_000), wrong, whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


def test_a_server_that_promises_more_than_it_sends(server: Any, target: Path) -> None:
    def lying(request: Any, _: int) -> None:
        request.start(200, Content_Length=str(10 * len(DATA)))
        request.wfile.write(DATA)

    server.answers = [lying]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


def test_a_server_that_always_sends_too_little(server: Any, target: Path) -> None:
    server.answers = [saying(200, DATA[:1000])]
    with pytest.raises(UserError, match="ends after 1,000 of 1,000,000 bytes") as caught:
        download(source(server), target, name="x")
    assert "--from" in caught.value.hint
    assert len(server.ranges) == downloads.RESUMES + 1


def test_a_server_that_sends_for_ever_is_cut_off(server: Any, target: Path) -> None:
    def endless(request: Any, _: int) -> None:
        request.start(200)
        try:
            while True:
                request.wfile.write(bytes(1 << 20))
        except OSError:
            pass

    server.answers = [endless]
    with pytest.raises(UserError, match="checksum"):
        download(source(server), target, name="x")
    assert list(target.parent.iterdir()) == []


def test_a_wrong_sum_leaves_nothing_behind(server: Any, target: Path) -> None:
    server.answers = [saying(200, bytes(len(DATA)))]
    with pytest.raises(UserError, match=f"expected {MD5}"):
        download(source(server), target, name="x")
    assert list(target.parent.iterdir()) == []


def test_a_body_is_taken_as_it_is_whatever_its_headers_say(server: Any, target: Path) -> None:
    server.answers = [saying(200, DATA, Content_Encoding="gzip")]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


def test_redirects(server: Any, target: Path) -> None:
    server.answers = [saying(302, Location=server.url + "2"), saying(301, Location="/archive3"), whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://"])
def test_a_redirect_to_something_else(server: Any, target: Path, place: str) -> None:
    server.answers = [saying(302, Location=place)]
    with pytest.raises(UserError, match="cannot"):
        download(source(server), target, name="x")


def test_a_redirect_in_a_circle(server: Any, target: Path) -> None:
    server.answers = [saying(302, Location=server.url)]
    with pytest.raises(UserError, match="redirects"):
        download(source(server), target, name="x")


def test_a_busy_server_is_asked_again(server: Any, target: Path) -> None:
    server.answers = [saying(503), saying(429), whole]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses(server: Any, target: Path, status: int) -> None:
    server.answers = [saying(status)]
    with pytest.raises(UserError, match=f"answers {status}") as caught:
        download(source(server), target, name="x")
    assert "--from" in caught.value.hint


def test_no_network(target: Path) -> None:
    with pytest.raises(UserError, match="no network") as caught:
        download(Archive("http://127.0.0.1:9/archive", md5=MD5, bytes=len(DATA)), target, name="x")
    assert "mmcoa fetch x --from" in caught.value.hint


def test_nothing_is_downloaded_without_a_checksum(server: Any, target: Path) -> None:
    with pytest.raises(UserError, match="no pinned checksum"):
        download(source(server, md5=""), target, name="x")
    assert server.ranges == []


def test_a_disk_that_is_too_small(server: Any, target: Path) -> None:
    with pytest.raises(UserError, match=r"x needs 1\.0 EB more, and the disk has"):
        download(source(server, size=10**18), target, name="x")
    assert server.ranges == []


def test_a_server_that_stalls_is_left_and_gone_on_with(
    server: Any, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte for as long as the patience lasts: another connection asks for the rest."""
    monkeypatch.setattr(downloads, "TIMEOUT", (5, 0.2))
    finished = threading.Event()

    def stalling(request: Any, _: int) -> None:
        request.start(200, Content_Length=str(len(DATA)))
        request.wfile.write(DATA[:400_000])
        request.wfile.flush()
        finished.wait(30)

    server.answers = [stalling, whole]
    try:
        download(source(server), target, name="x")
    finally:
        finished.set()
    assert target.read_bytes() == DATA
    assert server.ranges == [None, f"bytes={downloads.CHUNK}-"]  # what was read of the second piece is lost, no more


def test_a_slow_server_is_waited_for(server: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow altogether, but never silent for long: one connection brings it all."""
    monkeypatch.setattr(downloads, "TIMEOUT", (5, 2))
    pause = threading.Event()

    def trickling(request: Any, _: int) -> None:
        request.start(200, Content_Length=str(len(DATA)))
        for start in range(0, len(DATA), 100_000):
            request.wfile.write(DATA[start : start + 100_000])
            request.wfile.flush()
            pause.wait(0.05)

    server.answers = [trickling]
    download(source(server), target, name="x")
    assert target.read_bytes() == DATA
    assert server.ranges == [None]
