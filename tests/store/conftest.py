"""Other processes that run a few lines of the store and are killed, or raced, at a moment they announce; and a
PostgreSQL server of the tests' own: in a new folder, reached through a socket in it, gone when they end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from indexes import connected
from sqlalchemy import text

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


SERVER = "-c listen_addresses= -c fsync=off -c max_connections=50 -k"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, None where they are not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).parent if found else None


@contextmanager
def server(bin_folder: Path) -> Iterator[str]:
    """The URL of an empty database. PostgreSQL does not run as root, so root runs it as the user of the package."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="mmcoa-postgresql-"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(bin_folder / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    try:
        run("initdb", "-A", "trust", "-U", "mmcoa", "--no-sync", "-E", "UTF8")
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"{SERVER} {folder}", "start")
        try:
            yield f"postgresql://mmcoa@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty database: the one that MMCOA_TEST_DATABASE_URL names, or of a server begun here."""
    given, folder = os.environ.get("MMCOA_TEST_DATABASE_URL"), programs()
    if given:
        yield given
        return
    if folder is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'mmcoa[postgres]'")
    with server(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that is not there yet, or empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a % folder' / 'index.db'}"
        return
    address = request.getfixturevalue("postgresql")
    yield address
    with connected(address) as connection:
        for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
            connection.execute(text(statement))
