"""How the program ends: in one line and a hint for each error and each signal, and with which exit code.

Importing this module imports only the standard library, so that Ctrl-C is heard while the rest is imported.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .signals import Stopped, raised, stopped

SAID = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}
GO_ON = "type the same command again to go on"
_run: list[str] = []  # the id of the run that is being trained


@contextmanager
def naming(run: str) -> Iterator[None]:
    """Have a signal within the block end with the run's id (empty where there is none)."""
    _run[:] = [run] if run else []
    yield
    _run.clear()  # not where an error leaves the block: that is when it is said


@contextmanager
def in_words() -> Iterator[None]:
    """End an error with one line, a hint and exit code 1, and a signal with exit code 128 + its number.

    With --debug an error is raised as it is."""
    debug, before = "--debug" in sys.argv, sys.stdout
    _open_standard_streams()
    output: Any = _Output(sys.stdout)
    sys.stdout = output
    try:
        with raised(on_leave=_say_at_once):
            yield
    except BaseException as error:
        if (stop := stopped()) is not None:  # whatever it became on the way up
            _say(stop)
            sys.exit(stop.exit_code)
        code = error.code if isinstance(error, SystemExit) else None
        if code or not isinstance(error, SystemExit | Exception) or (debug and not isinstance(error, SystemExit)):
            raise
        with suppress(OSError):
            output.flush()
        if isinstance(error, SystemExit) and output.failure is None:
            raise
        _end_with(error, output.failure)
    finally:
        if output.failure is not None:  # else the interpreter complains at its end of what could not be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = before


class _Output:
    """Standard output that remembers when it could not be written: its errors look like those of any other file."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> Any:
        return self._watched(self._stream.write, text)

    def flush(self) -> None:
        self._watched(self._stream.flush)

    def _watched(self, do: Callable[..., Any], *values: Any) -> Any:
        try:
            return do(*values)
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _end_with(error: BaseException, unprinted: OSError | None) -> None:
    if isinstance(unprinted or error, BrokenPipeError):  # `mmcoa report | head`: stop quietly
        sys.exit(1)
    from store.errors import UserError

    from .console import print_error
    from .errors import explained

    if unprinted is not None:
        hint = "check where it leads: the disk may be full"
        reason = UserError(f"standard output cannot be written ({unprinted.strerror})", hint=hint)
    else:
        assert isinstance(error, Exception)
        reason = explained(error)
    with suppress(OSError):
        print_error(reason)
    sys.exit(1)


def _say(stop: Stopped) -> None:
    """Print the two lines of a signal; nothing where the terminal is gone."""
    from store.errors import UserError

    from .console import err, print_error

    with suppress(OSError):
        if err.live:
            err.file.write("\r\x1b[K")  # the ^C that the terminal wrote
        print_error(UserError(_what(stop), hint=_go_on()))


def _say_at_once(stop: Stopped) -> None:
    """Print the same from another thread, whatever the main one is doing. A progress bar may have hidden the cursor."""
    cursor = "\x1b[?25h\n" if os.isatty(2) else ""
    os.write(2, f"{cursor}error: {_what(stop)}\nhint: {_go_on()}\n".encode())


def _go_on() -> str:
    return f"{GO_ON} with run {_run[0]}" if _run else GO_ON


def _what(stop: Stopped) -> str:
    return f"{SAID.get(str(stop), str(stop))}; what was finished is kept"


def _open_standard_streams() -> None:
    """Open what was closed (`>&-`): else the next file opened takes its number, and every message goes there. Write
    characters that an encoding lacks as \\\\xNN."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
