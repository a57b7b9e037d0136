"""What is remembered of a file holds for this very file, as it is, and for no other."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import verification
from store.keys import digest_file
from store.verification import FOLDER, forget, recall, remembered_digest, verified

Start = Callable[[str], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that has been read and is remembered."""
    (tmp_path / "file").write_bytes(b"content")
    settled(tmp_path / "file")
    remembered_digest(tmp_path / "file")
    assert recall(tmp_path / "file", "sha256")
    return tmp_path / "file"


def settled(path: Path) -> None:
    """Read the file until it is no longer as good as new."""
    while time.time_ns() - path.stat().st_ctime_ns <= verification.SETTLED_NS:
        path.read_bytes()


def another_process() -> None:
    verification._known.clear()


def replaced(path: Path) -> None:
    path.with_name("new").write_bytes(b"CONTENT")
    path.with_name("new").replace(path)


def altered_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"C")


def altered_with_its_time_put_back(path: Path) -> None:
    status = path.stat()
    altered_in_place(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b".")


def memory_damaged(path: Path) -> None:
    (place,) = (path.parent / FOLDER).iterdir()
    text = place.read_text()
    place.write_text(text.replace(remembered_digest(path), "0" * 64))


def memory_of_nonsense(path: Path) -> None:
    for place in (path.parent / FOLDER).iterdir():
        place.write_text(json.dumps([[], 1]))


def memory_nested_without_end(path: Path) -> None:
    for place in (path.parent / FOLDER).iterdir():
        place.write_text("[" * 100_000)


@pytest.mark.parametrize("change", [replaced, altered_in_place, altered_with_its_time_put_back, grown])
@pytest.mark.parametrize("process", [lambda: None, another_process])
def test_a_changed_file_is_read_again(path: Path, change: Callable[[Path], None], process: Callable[[], None]) -> None:
    change(path)
    process()
    assert remembered_digest(path) == digest_file(path)


@pytest.mark.parametrize("damage", [memory_damaged, memory_of_nonsense, memory_nested_without_end])
def test_a_damaged_memory_is_not_believed(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    another_process()
    assert recall(path, "sha256") is None
    assert remembered_digest(path) == digest_file(path)


def test_a_remembered_file_is_not_read(path: Path) -> None:
    def compute() -> str:
        read.append(1)
        return "digest"

    read: list[int] = []
    for _ in range(3):
        assert verified(path, compute, "digest")
        another_process()
    assert len(read) == 1
    assert verified(path, compute, "digest", again=True)
    assert len(read) == 2


def test_a_file_that_was_not_what_was_expected_is_looked_at_again(path: Path) -> None:
    assert not verified(path, lambda: "other", "digest")
    assert verified(path, lambda: "digest", "digest")
    assert not verified(path, lambda: "digest", "other")


def test_a_copy_of_the_folder_is_read_again(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path / "copy", copy_function=shutil.copy2)
    assert recall(tmp_path / "copy" / "file", "sha256") is None


def test_a_file_changed_while_it_is_read_is_not_remembered(path: Path) -> None:
    def compute() -> str:
        altered_in_place(path)
        return "digest"

    assert verified(path, compute, "digest")
    assert recall(path) is None


def test_a_file_just_written_is_read_again(tmp_path: Path) -> None:
    """Two changes in one tick of the clock cannot be told apart by the file's times."""
    (tmp_path / "file").write_bytes(b"content")
    verification._remember(
        tmp_path / "file",
        "sha256",
        {
            "identity": verification._identity(tmp_path / "file", None),
            "digest": "of what was there before",
            "at": (tmp_path / "file").stat().st_ctime_ns,
        },
    )
    assert remembered_digest(tmp_path / "file") == digest_file(tmp_path / "file")


def test_a_folder_that_cannot_be_written_to_is_remembered_in_memory(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file is in the way")
    (tmp_path / "file").write_bytes(b"content")
    settled(tmp_path / "file")
    assert remembered_digest(tmp_path / "file") == recall(tmp_path / "file", "sha256")


def test_what_is_forgotten_leaves_nothing(path: Path) -> None:
    verified(path, lambda: "digest", "digest")
    forget(path)
    assert list((path.parent / FOLDER).iterdir()) == []


def test_several_processes_remember_at_once(tmp_path: Path, other: Start) -> None:
    for number in range(20):
        (tmp_path / f"file{number}").write_bytes(bytes([number]))
    lines = """
from store.verification import remembered_digest
pause()
for again in range(5):
    for number in range(20):
        remembered_digest(folder / f"file{number}", again=True)
"""
    processes = [other(lines).paused() for _ in range(3)]
    for process in processes:
        process.go()
    for process in processes:
        process.finish()
    assert all(recall(tmp_path / f"file{n}", "sha256") == digest_file(tmp_path / f"file{n}") for n in range(20))
    assert len(list((tmp_path / FOLDER).iterdir())) == 20
