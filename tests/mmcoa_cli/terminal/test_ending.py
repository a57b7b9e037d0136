"""How the program ends: standard streams that are closed or full, odd places for the store, words from elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

import store
from mmcoa_cli.app import app
from mmcoa_cli.settings import home
from mmcoa_cli.terminal.errors import explained

Ended = tuple[int, str, str]
LIST = "fetch --list"


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Ended]:
    """A command line in a shell, where `mmcoa` is this very package and the store is empty."""

    def run(line: str, **variables: str) -> Ended:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MMCOA_", "HF_"))}
        env |= {"PYTHONPATH": str(Path(store.__file__).parents[1]), "MMCOA_HOME": str(tmp_path / "home"), **variables}
        line = line.replace("mmcoa ", f"{sys.executable} -m mmcoa_cli ", 1)
        ended = subprocess.run(["bash", "-c", line], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in ended.stderr and "bug in mmcoa" not in ended.stderr
        assert "Exception ignored" not in ended.stderr
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.mark.parametrize("words", [LIST, f"{LIST} --json", "--version", "--help"])
def test_a_full_disk_behind_standard_output(shell: Callable[..., Ended], words: str) -> None:
    code, _, err = shell(f"mmcoa {words} > /dev/full")
    assert code == 1
    assert err.splitlines() == [
        "error: standard output cannot be written (No space left on device)",
        "hint: check where it leads: the disk may be full",
    ]


def test_streams_that_are_closed(shell: Callable[..., Ended], tmp_path: Path) -> None:
    assert shell(f"mmcoa {LIST} >&-")[0] == 0
    assert shell(f"mmcoa {LIST} <&-")[0] == 0
    code, out, _ = shell(f"mmcoa {LIST} 2>&-")
    assert code == 0 and "digits" in out
    assert shell("mmcoa fetch digits >&- 2>&- <&-")[0] == 0
    code, out, _ = shell("mmcoa fetch digits")
    assert code == 0 and "already here" in out


def test_a_reader_that_leaves_early(shell: Callable[..., Ended]) -> None:
    assert shell(f"mmcoa {LIST} --json | head -n 1")[1:] == ("{\n", "")


@pytest.mark.parametrize("columns", ["0", "1", "20", "-5", "x", "100000"])
def test_any_width(shell: Callable[..., Ended], columns: str) -> None:
    code, out, _ = shell(f"mmcoa {LIST}", COLUMNS=columns)
    assert code == 0 and "digits" in out and "cifar100" in out


def test_an_encoding_without_the_signs(shell: Callable[..., Ended]) -> None:
    code, out, _ = shell("mmcoa --help", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 0 and out.isascii()


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a%20b", "a#b", "ü", "犬", "a;b&c", "sqlite:"])
def test_a_store_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / name))
    assert CliRunner().invoke(app, ["fetch", "digits"]).exit_code == 0
    ended = CliRunner().invoke(app, ["report"])
    assert str(ended.exception).startswith("the index holds no result")
    assert (tmp_path / name / "index.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_places_that_can_be_no_store(shell: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    places = [*(str(tmp_path / name) for name in ("file", "file/in", "dangling", "loop", "x" * 300, "x/" * 3000))]
    for place in [*places, "/proc/mmcoa", "/dev/null", "~nobody-of-that-name", "a\nb", "a\x1b[31m"]:
        code, out, err = shell("mmcoa fetch digits", MMCOA_HOME=place)
        assert (code, out) == (1, ""), place
        assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "hint"], (place, err)


def test_the_file_of_the_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "a?b%20#"))
    assert home().index_file == tmp_path / "a?b%20#" / "index.db"
    monkeypatch.setenv("MMCOA_DATABASE_URL", "postgresql://host/mmcoa")
    assert home().index_file is None


def test_a_signal_that_comes_while_an_object_is_removed_is_not_lost(shell: Callable[..., Ended]) -> None:
    """Python only tells of exceptions there, and goes on."""
    script = """
        import os, time, weakref
        from mmcoa_cli.terminal import signals

        class Thing:
            pass

        with signals.raised():
            thing = Thing()
            kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), 15))
            try:
                del thing
                os.write(1, b"went on, ")
                time.sleep(60)
            except signals.Stopped as stopped:
                os.write(1, f"then {stopped}".encode())
    """
    code, out, err = shell(f"{sys.executable} -c '{textwrap.dedent(script)}'")
    assert (code, err) == (0, "")
    assert out.endswith("then SIGTERM")


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_before_stays_ignored(shell: Callable[..., Ended], ignored: signal.Signals) -> None:
    """As with nohup, and for jobs in the background of a script."""
    kill = f"with s.raised(): os.kill(os.getpid(), {int(ignored)})"
    script = f"import os; from mmcoa_cli.terminal import signals as s\n{kill}\nos.write(1, b'alive')"
    code, out, _ = shell(f'trap "" {ignored.name}; {sys.executable} -c "{script}"')
    assert (code, out) == (0, "alive")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/nowhere/x"), "the disk is full (/nowhere/x)"),
        (SafetensorError("No space left (os error 28)"), "the disk is full (while writing to the store)"),
        (OSError(36, "File name too long", "/nowhere/x"), "cannot use /nowhere/x (File name too long)"),
        (OSError(24, "Too many open files"), "too many files are open"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "there is not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "a file is nested too deeply to be read"),
        (ValueError("what"), "ValueError: what"),
    ],
)  # fmt: skip
def test_errors_that_nobody_foresaw(error: Exception, said: str) -> None:
    found = explained(error)
    assert str(found) == said and found.hint


def test_an_operation_of_chance_is_named_with_the_option_that_allows_it() -> None:
    pooled, places = torch.ones(1, 1, 2), torch.arange(2)[None, None]
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError) as error:
            torch.nn.functional.max_unpool1d(pooled, places, 2)  # which has no other kernel on a CPU, either
    finally:
        torch.use_deterministic_algorithms(False)
    found = explained(error.value)
    assert "gives other bits every time" in str(found) and found.hint.startswith("add --fast")


def test_a_full_disk_names_the_variable_that_moves_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("MMCOA_HOME", "TMPDIR", "HF_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable in ("MMCOA_HOME", "TMPDIR", "HF_HOME"):
        hint = explained(OSError(28, "No space left on device", str(tmp_path / variable / "x"))).hint
        assert f"set {variable} to a larger disk" in hint
