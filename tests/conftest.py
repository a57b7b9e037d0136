"""What all tests share: the package's own settings of threads, slow tests first, and the embedded stand-ins."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from ready import Server, variables

import mmcoa_cli  # sets OMP_WAIT_POLICY, which torch reads when it is loaded

os.environ.pop("COLUMNS", None)  # a console that is made where it is set would keep that width in every test
import mmcoa_cli.terminal.console  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, the slowest before all: where several processes share the tests, none begins one when all
    others are done."""
    items.sort(key=lambda item: -_seconds(item))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Test files import torch, transformers and open_clip, which stay: no search for garbage goes through them, neither
    meanwhile nor in the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _less_memory() -> Generator[None, None, None]:
    """What the tests of a file leave goes back to the system: models are few objects, for which Python looks for no
    garbage, and the C library keeps what is freed. What they loaded stays, and is gone through this once."""
    yield
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _seconds(item: pytest.Item) -> float:
    """About how long a slow test takes."""
    slow = item.get_closest_marker("slow")
    return slow.kwargs.get("seconds", 10.0) if slow else 0.0


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder once in a whole run of the tests, however many processes share them; each gets a copy of it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        made, whole = shared / f"made-{name}", shared / f"made-{name}.whole"
        with FileLock(f"{made}.lock"):
            if not whole.exists():
                fill(made)
                whole.touch()
        return Path(shutil.copytree(made, own / f"copy-{name}"))

    return make


@pytest.fixture(scope="session")
def server() -> Generator[Callable[[], Server], None, None]:
    """Has the server of processes, begun when it is first asked for."""
    begun: list[Server] = []

    def begin() -> Server:
        if not begun:
            begun.append(Server(variables()))
        return begun[0]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture(scope="session")
def stand_ins(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A store with digits, tiny-clip and tiny-mlm, as `mmcoa fetch` makes them."""

    def fill(root: Path) -> None:
        from mmcoa_cli.datasets.fetching import fetch_dataset
        from mmcoa_cli.models.library import ensure_clip, ensure_mlm
        from mmcoa_cli.settings import Home

        home = Home(root, f"sqlite:///{root / 'index.db'}")
        fetch_dataset("digits", home)
        ensure_clip("tiny-clip", home)
        ensure_mlm("tiny-mlm", home)

    return once("stand-ins", fill)
