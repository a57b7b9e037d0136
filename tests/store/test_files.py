"""Files and folders that are whole or as they were, whatever happens; one holder of a lock."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.files import lock, replacing

Start = Callable[[str], Any]

IN_A_FILE = """
from store.files import replacing
with replacing(folder / "file") as partial:
    partial.write_text("half")
    pause()
"""
IN_A_FOLDER = """
from store.files import replacing
with replacing(folder / "target") as partial:
    partial.mkdir()
    (partial / "file").write_text("half")
    pause()
"""
HOLDING = """
from store.files import lock
with lock(folder / "file", what="a file"):
    pause()
"""
FULL_DISK = """
import resource
from store.files import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with replacing(folder / "file") as partial:
        partial.write_bytes(bytes(200_000))
except OSError as error:
    print(error.errno)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with replacing(tmp_path / "new" / "file") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_text() == "whole"
    assert names(tmp_path / "new") == ["file"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / text).write_text(text)
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["new"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_kill_leaves_the_old_file_and_the_next_writer_cleans_up(tmp_path: Path, other: Start) -> None:
    (tmp_path / "file").write_text("old")
    other(IN_A_FILE).paused().kill()
    assert (tmp_path / "file").read_text() == "old"
    with replacing(tmp_path / "file") as partial:
        partial.write_text("new")
    assert names(tmp_path) == ["file"]


def test_a_kill_leaves_no_half_folder(tmp_path: Path, other: Start) -> None:
    other(IN_A_FOLDER).paused().kill()
    assert not (tmp_path / "target").exists()
    with replacing(tmp_path / "target") as partial:
        partial.mkdir()
    assert names(tmp_path) == ["target"]


def test_a_folder_moved_aside_by_a_killed_writer_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".folder.old").mkdir()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "folder"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, other: Start) -> None:
    (tmp_path / "file").write_text("old")
    assert other(FULL_DISK).finish() == "27\n"  # EFBIG
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_lock_waits_for_its_holder_and_outlives_it(tmp_path: Path, other: Start) -> None:
    holder, waits = other(HOLDING).paused(), []

    def on_wait() -> None:
        waits.append("once")
        holder.kill()

    with lock(tmp_path / "file", what="a file", on_wait=on_wait):
        assert waits == ["once"]


def test_waiting_is_said(tmp_path: Path, other: Start) -> None:
    holder, said = other(HOLDING).paused(), []

    class LetGo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            holder.go()

    handler = LetGo()
    logging.getLogger("store.files").addHandler(handler)
    try:
        with lock(tmp_path / "file", what="a file"):
            assert said == ["waiting for another process that writes a file"]
    finally:
        logging.getLogger("store.files").removeHandler(handler)


def test_a_holder_may_take_its_lock_again(tmp_path: Path) -> None:
    waits: list[int] = []
    with lock(tmp_path / "file", what="a file"), lock(tmp_path / "file", what="it", on_wait=lambda: waits.append(1)):
        assert not waits
