"""Images that threads and other processes decode: the same ones in the same order, and nobody stays behind."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from PIL import Image

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets import decoders
from mmcoa_cli.datasets.decoders import prepared_ahead
from mmcoa_cli.datasets.decoding import LARGE, Encoded, Prepared
from mmcoa_cli.datasets.samples import Sample
from store.errors import UserError

ROW = DatasetRow("some", pixel_size=16)
RESIZED = DatasetRow("some", resize=32, oriented=True)
KINDS = (("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"))
KILLED = """
import os, sys
from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets.decoders import prepared_ahead
from mmcoa_cli.datasets.decoding import Encoded
from mmcoa_cli.datasets.samples import Sample
data = open(sys.argv[1], "rb").read()
def samples():
    while True:
        yield Sample("test", Encoded("a", lambda: data))
for number, _ in enumerate(prepared_ahead(samples(), DatasetRow("some", pixel_size=16), processes=2, alone=1)):
    if number == 500:
        print("on its way", flush=True)
"""


def encoded(kind: str, *, side: int = 16, seed: int = 0, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(256, size=(side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def failing() -> bytes:
    raise UserError("cannot be read", hint="read it")


def mixed() -> Iterator[Sample]:
    """Whole and broken ones of several kinds, some as pixels, each read only in its turn."""
    turn = itertools.count()
    expected = 0

    def in_turn(data: bytes, number: int) -> bytes:
        nonlocal expected
        assert number == expected == next(turn)
        expected += 1
        return data

    for number in range(300):
        data = encoded("PNG" if number % 3 else "JPEG", seed=number)
        if number % 50 == 7:
            data = data[: len(data) // 2]
        if number % 50 == 9:
            data = encoded("PNG", side=20)
        if number % 50 == 11:
            data = encoded("JPEG", mode="CMYK")
        yield Sample("train", Encoded(f"{number}.png", lambda d=data, n=number: in_turn(d, n)), number % 5)  # type: ignore[misc]
    yield Sample("test", np.zeros((16, 16, 3), np.uint8), 3)
    yield Sample("test", Encoded("last", failing), 2)


def told(found: Iterator[tuple[Sample, Prepared | UserError]]) -> list[object]:
    lines: list[object] = []
    for sample, done in found:
        if isinstance(done, Prepared):
            image = done.image if isinstance(done.image, bytes) else done.image.tobytes()
            lines.append((sample.split, sample.label, image, done.changes))
        else:
            lines.append((sample.split, sample.label, str(done), done.hint))
    return lines


@pytest.fixture
def decoding() -> Callable[[], list[psutil.Process]]:
    """The processes that the test has begun and that run: other tests of this process have theirs."""
    before = {process.pid for process in psutil.Process().children()}
    return lambda: [process for process in psutil.Process().children() if process.pid not in before]


@pytest.mark.parametrize("row", [ROW, RESIZED], ids=["pixels", "files"])
def test_all_processes_give_what_one_does(
    row: DatasetRow, decoding: Callable[[], list[psutil.Process]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "A_BATCH", 10 * decoders.A_FILE)
    alone = told(prepared_ahead(mixed(), row, processes=1))
    assert len(alone) == 302 and len({type(line[2]) for line in alone}) == 2  # type: ignore[index]
    assert told(prepared_ahead(mixed(), row, processes=3, alone=1)) == alone
    assert not decoding()


def test_a_large_image_is_decoded_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("L", (4200, 4200), 7).save(file, "PNG")
    assert LARGE < 4200**2
    samples = [Sample("test", Encoded(str(n), lambda: file.getvalue())) for n in range(3)]
    found = told(prepared_ahead(iter(samples), RESIZED, processes=2, alone=1))
    assert found == [("test", -1, file.getvalue(), ())] * 3


def test_a_process_that_dies_loses_nothing(
    decoding: Callable[[], list[psutil.Process]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "A_BATCH", 5 * decoders.A_FILE)
    data = [encoded("PNG", seed=n) for n in range(200)]
    samples = [Sample("test", Encoded(str(n), lambda d=one: d)) for n, one in enumerate(data)]  # type: ignore[misc]
    lines = []
    for number, line in enumerate(prepared_ahead(iter(samples), ROW, processes=2, alone=1)):
        lines.append(line)
        if number == 20:
            for process in decoding():
                process.kill()
    assert told(iter(lines)) == told(prepared_ahead(iter(samples), ROW, processes=1))


def test_what_is_left_in_the_middle_leaves_nobody_behind(decoding: Callable[[], list[psutil.Process]]) -> None:
    data = encoded("PNG")
    found = prepared_ahead(
        (Sample("t", Encoded("a", lambda: data)) for _ in itertools.count()), ROW, processes=2, alone=1
    )
    for _ in range(400):
        next(found)
    assert decoding()
    found.close()
    assert not decoding()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_killed_it_leaves_nobody_behind(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a.png")], stdout=subprocess.PIPE, text=True,
        cwd=Path(decoders.__file__).parents[2],
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == "on its way\n"
        others = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
    assert others
    _, alive = psutil.wait_procs(others, timeout=60)
    assert not alive


def test_large_images_take_no_other_process(decoding: Callable[[], list[psutil.Process]]) -> None:
    images = [encoded(kind, side=200, seed=n, mode=mode) for n in range(9) for kind, mode in KINDS]
    images[7] = images[7][:-900]
    samples = [Sample("t", Encoded(str(n), lambda d=one: d)) for n, one in enumerate(images)]  # type: ignore[misc]
    assert min(map(len, images)) > decoders.SMALL
    found = prepared_ahead(iter(samples), RESIZED, processes=3, alone=1)
    lines = [next(found) for _ in range(9)]
    assert not decoding()
    assert told(iter([*lines, *found])) == told(prepared_ahead(iter(samples), RESIZED, processes=1))
