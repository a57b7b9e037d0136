"""Other processes that run a few lines of the store and are killed, or raced, at a moment they announce."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import store

START = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])

def pause():
    print("here", flush=True)
    sys.stdin.readline()

"""


class Other:
    """Another Python process. `pause()` in its lines says that it is there, and waits for `go`."""

    def __init__(self, lines: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START + lines, str(folder)],
            env={**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def paused(self) -> Other:
        if self._stdout.readline() != "here\n":
            raise AssertionError(f"it ended before: {self._process.communicate()[1]}")
        return self

    def go(self) -> Other:
        self._stdin.write("\n")
        self._stdin.flush()
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        self._process.kill()
        self._process.communicate()

    def finish(self) -> str:
        """What it printed after its pauses. Fails the test when it failed."""
        out, err = self._process.communicate()
        assert self._process.returncode == 0, err
        return out


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[str], Other]]:
    """Starts another process on the test's own folder, which it knows as `folder`."""
    started: list[Other] = []

    def start(lines: str) -> Other:
        started.append(Other(lines, tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
